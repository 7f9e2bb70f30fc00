"""What travels over the wire, as explicit pydantic models; pydantic stops here."""
