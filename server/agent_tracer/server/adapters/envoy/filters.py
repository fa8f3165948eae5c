"""The HTTP filters of a listener, in the order that a request passes them."""

import ipaddress

from agent_tracer.server import limits
from agent_tracer.server.adapters.envoy import proto_json as names
from agent_tracer.server.adapters.envoy.plan import Bounds, Listener
from agent_tracer.server.adapters.envoy.proto_json import Message, extension, typed
from agent_tracer.server.adapters.envoy.routes import LOOPBACK_HOST, LOOPBACK_ORIGIN

_COMPRESSION = "envoy.extensions.compression.gzip"
_HTTP = "envoy.extensions.filters.http"


_REFUSE_OTHER_ENCODINGS = """
function envoy_on_request(request)
  local encoding = request:headers():get("content-encoding")
  if encoding == nil or encoding:lower() == "identity" then return end
  if encoding:lower() ~= "gzip" then request:respond({[":status"] = "415"}, encoding) end
  request:streamInfo():dynamicMetadata():set("agent_tracer", "gzip", true)
end
"""

_REFUSE_BROKEN_GZIP = """
function envoy_on_request(request)
  local marks = request:streamInfo():dynamicMetadata():get("agent_tracer")
  if marks == nil or not marks["gzip"] then return end
  local body = request:body()
  local size = body and body:length() or 0
  local tail = size > 0 and body:getBytes(math.max(0, size - 16), math.min(16, size)) or ""
  if not tail:find("}%s*$") then
    request:respond({[":status"] = "400"}, "the gzip body is cut short, corrupt, or no JSON object")
  end
end
"""
"""The decompressor drops in silence what it cannot inflate; cut-short JSON would make the transcoder wait."""


def http_filters(listener: Listener, descriptor_path: str, bounds: Bounds) -> list[Message]:
    """`http_filters` of the listener's HTTP connection manager."""
    return [
        extension(names.CORS, f"{_HTTP}.cors.v3.Cors"),
        _other_sites_refused(listener),
        _compressor(),
        _lua(names.ENCODING_CHECK, _REFUSE_OTHER_ENCODINGS),
        _decompressor(),
        # After the decompressor, so that it counts what comes out of it.
        extension(names.BUFFER, f"{_HTTP}.buffer.v3.Buffer", max_request_bytes=bounds.request_bytes),
        _lua(names.GZIP_CHECK, _REFUSE_BROKEN_GZIP),
        _transcoder(listener, descriptor_path, bounds),
        extension(names.ROUTER, f"{_HTTP}.router.v3.Router", suppress_envoy_headers=True),
    ]


def _other_sites_refused(listener: Listener) -> Message:
    """No web page that the user visits may write here, nor read by rebinding its own name (DNS rebinding)."""
    foreign: list[Message] = [_and([_present("origin"), _not(_matches("origin", LOOPBACK_ORIGIN))])]
    if ipaddress.ip_address(listener.address.host).is_loopback:
        foreign.append(_not(_matches(":authority", LOOPBACK_HOST)))
    policy = {"permissions": [{"any": True}], "principals": foreign}
    rules = {"action": "DENY", "policies": {"other-sites": policy}}
    return extension(names.RBAC, f"{_HTTP}.rbac.v3.RBAC", rules=rules)


def _present(header: str) -> Message:
    return {"header": {"name": header, "present_match": True}}


def _matches(header: str, regex: str) -> Message:
    return {"header": {"name": header, "string_match": {"safe_regex": {"regex": regex}}}}


def _not(principal: Message) -> Message:
    return {"not_id": principal}


def _and(principals: list[Message]) -> Message:
    return {"and_ids": {"ids": principals}}


def _transcoder(listener: Listener, descriptor_path: str, bounds: Bounds) -> Message:
    return extension(
        names.TRANSCODER,
        f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=descriptor_path,
        services=list(listener.services),
        convert_grpc_status=True,
        # As HTML forms and most HTTP clients write a space in a query.
        query_param_unescape_plus=True,
        print_options={"always_print_primitive_fields": True, "stream_newline_delimited": True},
        request_validation_options={
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        max_request_body_size=bounds.request_bytes,
        max_response_body_size=bounds.response_bytes,
    )


def _compressor() -> Message:
    return extension(
        names.COMPRESSOR,
        f"{_HTTP}.compressor.v3.Compressor",
        response_direction_config={"common_config": {"min_content_length": limits.ENVOY_COMPRESS_BYTES_MIN}},
        compressor_library={"name": "gzip", "typed_config": typed(f"{_COMPRESSION}.compressor.v3.Gzip")},
    )


def _decompressor() -> Message:
    gzip = typed(f"{_COMPRESSION}.decompressor.v3.Gzip", max_inflate_ratio=limits.ENVOY_INFLATE_RATIO_MAX)
    return extension(
        names.DECOMPRESSOR,
        f"{_HTTP}.decompressor.v3.Decompressor",
        decompressor_library={"name": "gzip", "typed_config": gzip},
        # What the servers behind compress themselves is for the caller to open.
        response_direction_config={
            "common_config": {"enabled": {"default_value": False, "runtime_key": "agent_tracer.decompress"}}
        },
        request_direction_config={"common_config": {"ignore_no_transform_header": True}},
    )


def _lua(name: str, script: str) -> Message:
    return extension(name, f"{_HTTP}.lua.v3.Lua", default_source_code={"inline_string": script})
