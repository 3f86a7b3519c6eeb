"""Model control needs the key that only the server's owner can read."""

import http.client

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from lnclip.errors import ServerError
from server import control
from server.launch import KEY_HEADER

pytestmark = pytest.mark.slow


def post(url: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(url, timeout=10)
    connection.request("POST", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("path", ["repository/index", "repository/models/sleeper/load"])
def test_http_refuses_without_the_key(shared_server, path):
    assert post(shared_server.http_url, f"/v2/{path}", {}) == 403
    assert post(shared_server.http_url, f"/v2/{path}", {KEY_HEADER: "guess"}) == 403
    assert post(shared_server.http_url, f"/v2/{path}", {KEY_HEADER: shared_server.key}) == 200


def test_grpc_refuses_without_the_key(shared_server):
    with triton.InferenceServerClient(shared_server.grpc_url) as client:
        for call in (
            lambda: client.load_model("sleeper"),
            lambda: client.get_model_config("sleeper"),
            lambda: client.register_system_shared_memory("mine", "/mine", 1),
            lambda: client.update_trace_settings(settings={"trace_level": ["OFF"]}),
            lambda: client.update_log_settings({"log_verbose_level": 1}),
        ):
            with pytest.raises(InferenceServerException, match="This protocol is restricted"):
                call()


def test_statistics_stay_open_for_measuring(shared_server):
    with triton.InferenceServerClient(shared_server.grpc_url) as client:
        assert client.get_inference_statistics("sleeper").model_stats[0].name == "sleeper"


def test_reloads_a_model_with_the_key(shared_server):
    control.load_model(shared_server, "sleeper")
    assert [model.state for model in control.model_states(shared_server)] == ["READY"]


def test_a_model_that_is_not_there_is_an_error_with_triton_s_reason(shared_server):
    with pytest.raises(ServerError, match="nobody did not load on"):
        control.load_model(shared_server, "nobody")


def test_a_wrong_key_is_an_error(shared_server):
    with pytest.raises(ServerError, match="restricted"):
        control.load_model(shared_server.model_copy(update={"key": "guess"}), "sleeper")
