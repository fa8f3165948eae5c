"""How the engine reads OTLP requests: a trimmed protobuf schema and the column types that it fills.

The engine cannot follow AnyValue's recursion, so arrays and maps stay serialised (`a`, `kv`), and so do events,
links and exemplars, which are decoded when they are read. Nothing is dropped. The loader puts each request into an
envelope with what OTLP does not have, the tenant and the time of receipt. Beside the request's own fields these would
not be safe: a sender could add fields of the same numbers.
"""

from typing import Final

REQUEST_FIELD: Final = 1
TENANT_FIELD: Final = 2
RECEIVED_FIELD: Final = 3

_COMMON: Final = """syntax = "proto3";
message V { oneof value { string s=1; bool b=2; int64 i=3; double d=4; bytes a=5; bytes kv=6; bytes y=7; } }
message Resource { map<string,V> attributes=1; uint32 dropped=2; repeated bytes entity_refs=3; }
message Scope { string name=1; string version=2; map<string,V> attributes=3; uint32 dropped=4; }
"""

_TAIL: Final = f""" }}
message Envelope {{ Request request={REQUEST_FIELD}; string tenant={TENANT_FIELD}; fixed64 received={RECEIVED_FIELD}; }}
"""

TRACES_PROTO: Final = (
    _COMMON
    + """message Status { string message=2; int32 code=3; }
message Span { bytes trace_id=1; bytes span_id=2; string trace_state=3; bytes parent_span_id=4; string name=5;
 int32 kind=6; fixed64 start_ns=7; fixed64 end_ns=8; map<string,V> attributes=9; uint32 dropped_attributes=10;
 repeated bytes events=11; uint32 dropped_events=12; repeated bytes links=13; uint32 dropped_links=14;
 Status status=15; fixed32 flags=16; }
message ScopeGroup { Scope scope=1; repeated Span items=2; string schema_url=3; }
message ResourceGroup { Resource resource=1; repeated ScopeGroup scopes=2; string schema_url=3; }
message Request { repeated ResourceGroup resources=1;"""
    + _TAIL
)

LOGS_PROTO: Final = (
    _COMMON
    + """message Log { fixed64 time_ns=1; int32 severity_number=2; string severity_text=3; V body=5;
 map<string,V> attributes=6; uint32 dropped_attributes=7; fixed32 flags=8; bytes trace_id=9; bytes span_id=10;
 fixed64 observed_ns=11; string event_name=12; }
message ScopeGroup { Scope scope=1; repeated Log items=2; string schema_url=3; }
message ResourceGroup { Resource resource=1; repeated ScopeGroup scopes=2; string schema_url=3; }
message Request { repeated ResourceGroup resources=1;"""
    + _TAIL
)

METRICS_PROTO: Final = (
    _COMMON
    + """message Number { fixed64 start_ns=2; fixed64 time_ns=3; oneof value { double d=4; sfixed64 i=6; }
 repeated bytes exemplars=5; map<string,V> attributes=7; uint32 flags=8; }
message Histogram { map<string,V> attributes=9; fixed64 start_ns=2; fixed64 time_ns=3; fixed64 count=4;
 optional double sum=5; repeated fixed64 bucket_counts=6; repeated double bounds=7; repeated bytes exemplars=8;
 uint32 flags=10; optional double min=11; optional double max=12; }
message Buckets { sint32 offset=1; repeated uint64 bucket_counts=2; }
message Exponential { map<string,V> attributes=1; fixed64 start_ns=2; fixed64 time_ns=3; fixed64 count=4;
 optional double sum=5; sint32 scale=6; fixed64 zero_count=7; Buckets positive=8; Buckets negative=9; uint32 flags=10;
 repeated bytes exemplars=11; optional double min=12; optional double max=13; double zero_threshold=14; }
message Quantile { double quantile=1; double value=2; }
message Summary { map<string,V> attributes=7; fixed64 start_ns=2; fixed64 time_ns=3; fixed64 count=4; double sum=5;
 repeated Quantile quantiles=6; uint32 flags=8; }
message GaugeData { repeated Number points=1; }
message SumData { repeated Number points=1; int32 temporality=2; bool monotonic=3; }
message HistogramData { repeated Histogram points=1; int32 temporality=2; }
message ExponentialData { repeated Exponential points=1; int32 temporality=2; }
message SummaryData { repeated Summary points=1; }
message Metric { string name=1; string description=2; string unit=3; map<string,V> metadata=12; GaugeData gauge=5;
 SumData sum=7; HistogramData histogram=9; ExponentialData exponential=10; SummaryData summary=11; }
message ScopeGroup { Scope scope=1; repeated Metric items=2; string schema_url=3; }
message ResourceGroup { Resource resource=1; repeated ScopeGroup scopes=2; string schema_url=3; }
message Request { repeated ResourceGroup resources=1;"""
    + _TAIL
)

_KIND: Final = "Enum8('none'=0,'s'=1,'b'=2,'i'=3,'d'=4,'a'=5,'kv'=6,'y'=7)"
VALUE: Final = f"Tuple(s String, b UInt8, i Int64, d Float64, a String, kv String, y String, value {_KIND})"
VALUES: Final = f"Map(String, {VALUE})"

_RESOURCE: Final = f"resource Tuple(attributes {VALUES}, dropped UInt32, entity_refs Array(String))"
_SCOPE: Final = f"scope Tuple(name String, version String, attributes {VALUES}, dropped UInt32)"


def request_columns(item: str) -> str:
    """The columns of a Null table that takes requests whose innermost items have the given type."""
    scopes = f"scopes Array(Tuple({_SCOPE}, items Array({item}), schema_url String))"
    resources = f"resources Array(Tuple({_RESOURCE}, {scopes}, schema_url String))"
    return f"request Tuple({resources}), tenant String, received UInt64"


SPAN_ITEM: Final = (
    "Tuple(trace_id String, span_id String, trace_state String, parent_span_id String, name String, kind Int32, "
    f"start_ns UInt64, end_ns UInt64, attributes {VALUES}, dropped_attributes UInt32, events Array(String), "
    "dropped_events UInt32, links Array(String), dropped_links UInt32, "
    "status Tuple(message String, code Int32), flags UInt32)"
)

LOG_ITEM: Final = (
    f"Tuple(time_ns UInt64, severity_number Int32, severity_text String, body {VALUE}, attributes {VALUES}, "
    "dropped_attributes UInt32, flags UInt32, trace_id String, span_id String, observed_ns UInt64, event_name String)"
)

_NUMBER: Final = (
    "Tuple(start_ns UInt64, time_ns UInt64, d Float64, i Int64, value Enum8('none'=0,'d'=4,'i'=6), "
    f"exemplars Array(String), attributes {VALUES}, flags UInt32)"
)
_HISTOGRAM: Final = (
    f"Tuple(attributes {VALUES}, start_ns UInt64, time_ns UInt64, count UInt64, sum Nullable(Float64), "
    "bucket_counts Array(UInt64), bounds Array(Float64), exemplars Array(String), flags UInt32, "
    "min Nullable(Float64), max Nullable(Float64))"
)
_BUCKETS: Final = "Tuple(offset Int32, bucket_counts Array(UInt64))"
_EXPONENTIAL: Final = (
    f"Tuple(attributes {VALUES}, start_ns UInt64, time_ns UInt64, count UInt64, sum Nullable(Float64), scale Int32, "
    f"zero_count UInt64, positive {_BUCKETS}, negative {_BUCKETS}, flags UInt32, exemplars Array(String), "
    "min Nullable(Float64), max Nullable(Float64), zero_threshold Float64)"
)
_SUMMARY: Final = (
    f"Tuple(attributes {VALUES}, start_ns UInt64, time_ns UInt64, count UInt64, sum Float64, "
    "quantiles Array(Tuple(quantile Float64, value Float64)), flags UInt32)"
)
METRIC_ITEM: Final = (
    f"Tuple(name String, description String, unit String, metadata {VALUES}, gauge Tuple(points Array({_NUMBER})), "
    f"sum Tuple(points Array({_NUMBER}), temporality Int32, monotonic Bool), "
    f"histogram Tuple(points Array({_HISTOGRAM}), temporality Int32), "
    f"exponential Tuple(points Array({_EXPONENTIAL}), temporality Int32), summary Tuple(points Array({_SUMMARY})))"
)
