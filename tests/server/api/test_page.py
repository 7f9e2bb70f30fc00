"""`GET /config`: the lists that clients of the page's description read."""

from fastapi.testclient import TestClient


def test_clients_find_their_lists(client: TestClient) -> None:
    page = client.get("/config").json()
    assert page["version"] == "3.41.2"
    found = {each["props"]["elem_id"]: each["props"]["choices"] for each in page["components"]}
    assert found["setting_sd_lora"] == ["", "None", "tinylora2", "tinylora"]
    assert found["setting_sd_hypernetwork"] == ["None"]
    upscalers = [each["name"] for each in client.get("/sdapi/v1/upscalers").json()]
    latent = [each["name"] for each in client.get("/sdapi/v1/latent-upscale-modes").json()]
    assert found["txt2img_hr_upscaler"] == latent + upscalers
    assert found["extras_upscaler_1"] == found["extras_upscaler_2"] == upscalers
    assert found["script_list"][:2] == ["None", "img2img alternative test"]
