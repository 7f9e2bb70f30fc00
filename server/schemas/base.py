"""What every request and reply model of the wire has in common."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, model_validator


def _pydantic_1_schema(schema: dict[str, Any]) -> None:
    """Describe an optional property as pydantic 1 did: by its type alone, without `null`."""
    for name, described in schema.get("properties", {}).items():
        branches = described.pop("anyOf", None)
        if branches is not None:
            (branch,) = (each for each in branches if each != {"type": "null"})
            described = {**branch, **described}
        if described.get("default", ...) is None:
            del described["default"]
        schema["properties"][name] = described


class Reply(BaseModel):
    """A reply of the wire."""

    model_config = ConfigDict(json_schema_extra=_pydantic_1_schema)


class WireRequest(BaseModel):
    """A request body: unknown keys are ignored, and null means "use the default" in every field."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, json_schema_extra=_pydantic_1_schema, hide_input_in_errors=True
    )

    _nulls: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def sent(self) -> dict[str, Any]:
        """The known fields that the body had, coerced; None for those it had as null."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return values | dict.fromkeys(self._nulls)

    @model_validator(mode="wrap")
    @classmethod
    def _null_is_the_default(cls, body: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(body, dict):
            return handler(body)
        nulls = frozenset(
            name
            for name, field in cls.model_fields.items()
            if body.get(name, ...) is None and not field.is_required()
        )
        model = handler({key: value for key, value in body.items() if key not in nulls})
        model._nulls = nulls
        return model
