"""Every bound of the server, each with its reason. docs/reference/limits.md is generated from this file.

A bound is a module constant followed by a string that says why it has that value.
"""

from typing import Final

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""One gRPC message or HTTP body, after decompression: four times the OpenTelemetry SDKs' largest batch."""

ATTRIBUTES_PER_SPAN_MAX: Final = 1024
"""Eight times the OpenTelemetry SDKs' default of 128, so that only runaway instrumentation meets it."""

ATTRIBUTE_VALUE_BYTES_MAX: Final = 1024 * 1024
"""One attribute value; a conversation of 250,000 tokens still fits."""

ATTRIBUTE_DEPTH_MAX: Final = 30
"""Nesting of arrays and maps in one attribute value: protobuf decoders stop at 100 nested messages, three a level."""

TRACE_SPANS_MAX: Final = 100_000
"""Spans of one trace on read: what a tree walk can hold in memory."""

GET_TRACE_SPANS_MAX: Final = 1_000
"""Spans that GetTrace carries; ListSpans pages the rest."""

TIMESTAMP_MIN_SECONDS: Final = 946_684_800
"""2000-01-01: earlier times come from clocks that were never set."""

TIMESTAMP_AHEAD_SECONDS: Final = 3600
"""How far ahead of the server's clock a timestamp may lie: an hour of skew is a wrong time zone, more is a fault."""

ID_LENGTH_MAX: Final = 256
"""Characters of an id given as text: a URL path segment that every proxy passes."""

PAGE_SIZE_DEFAULT: Final = 50
"""One screen of a list."""

PAGE_SIZE_MAX: Final = 1_000
"""A page larger than this is an export, which streams."""

JOURNAL_BYTES_MAX_DEFAULT: Final = 8 * 1024**3
"""Disk the journal may hold while the store is behind: about four minutes of full load (30,000 spans/s of 1 kB)."""

JOURNAL_SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""A segment file: large enough that creating one is rare, small enough that space comes back soon."""

JOURNAL_GROUP_BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes written under one fsync; two of the largest messages always fit."""

JOURNAL_QUEUE_BYTES_MAX: Final = 128 * 1024 * 1024
"""Bytes waiting for the disk; past it requests are refused with RetryInfo instead of filling the memory."""

STAND_IN_STOP_SECONDS_MAX: Final = 1
"""How long the demo's model stand-in waits for answers under way when it stops; its clients are local."""

DEMO_RUNS_MAX: Final = 1_000
"""Runs of one `agent-tracer demo`: about ten minutes of it; load is the benchmarks' business."""

DEMO_EXPORT_SECONDS_MAX: Final = 10
"""How long the demo tries to deliver one run's spans before it says that nobody takes them."""

FIELD_VIOLATIONS_MAX: Final = 20
"""Wrong fields told in one error: details travel in HTTP/2 trailers, of which clients take 8 KiB."""

RETRY_SECONDS_BACKEND_DOWN: Final = 1.0
"""When to try again while the store restarts or its queue is full: about what either takes."""

MESSAGE_DEPTH_MAX: Final = 100
"""Messages within messages in one request: protobuf's decoders refuse more, so it could not be read back."""

IMPORT_BATCH_SPANS: Final = 1_000
"""Spans, log records or metrics in one request of an import: past this a larger batch is no faster."""

IMPORT_BATCH_BYTES: Final = 512 * 1024
"""Bytes in one request of an import: at 20 bytes a metric point, half of ITEMS_PER_REQUEST_MAX; servers take 4 MiB."""

IMPORT_ITEM_BYTES_MAX: Final = 64 * 1024 * 1024
"""One trace, resource or message of an imported file, held in memory whole; Python needs several times its size."""

JOURNAL_TENANT_BYTES_MAX: Final = 1024
"""A tenant id in UTF-8: 256 characters of four bytes; bounds a frame header."""

JOURNAL_READ_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""One read of a journal reader: long enough that the system call costs nothing, held once per reader."""

JOURNAL_CHECKSUM_INLINE_BYTES: Final = 1024 * 1024
"""Payloads up to this size are checksummed by the caller (under 1 ms); larger ones by the writer thread."""

JOURNAL_RETRY_QUEUE_SECONDS: Final = 1.0
"""RetryInfo when too many bytes wait for the disk: a full queue drains in about this time."""

JOURNAL_RETRY_DISK_SECONDS: Final = 5.0
"""RetryInfo when the journal's budget or the disk is full: room comes when the loader passes a segment."""

CLI_CALL_SECONDS: Final = 30.0
"""How long a command waits for one answer: the server's own limit for a query is shorter."""

CLI_RECEIVE_BYTES_MAX: Final = 256 * 1024 * 1024
"""One answer to a command: a page of 1,000 spans whose inputs and outputs are 256 kB each."""

CLI_TREE_SPANS_READ_MAX: Final = 10_000
"""Spans that `traces get` reads to choose those it draws: ten pages, about a second."""

CLI_IMPORT_REQUESTS_IN_FLIGHT: Final = 4
"""Export calls of `traces import` under way at once: enough that the server's fsyncs are shared."""

CLI_IMPORT_RETRY_SECONDS_MAX: Final = 120.0
"""How long `traces import` keeps offering one request to a server that is full or restarting."""

MODEL_NAME_BYTES_MAX: Final = 127
"""A model's or provider's name that is priced: what one protobuf length byte holds; cloud resource names fit."""

METADATA_BYTES_MAX: Final = 256 * 1024
"""Metadata of one CreateTrace, keys and texts together: lists carry it; longer content belongs in spans."""

METADATA_KEYS_MAX: Final = 512
"""Top-level keys of metadata, each a span attribute: half of what a span may carry."""

METADATA_DEPTH_MAX: Final = 16
"""Nesting of metadata: each level is three nested messages in OTLP, and protobuf parsers stop at 100."""

STRUCT_DEPTH_MAX: Final = 24
"""Nesting of attributes in answers, as METADATA_DEPTH_MAX; what is deeper is given as JSON text."""

TEXT_LENGTH_MAX: Final = 1024
"""Characters of a filter's text: a long sentence; each word of it costs the query."""

ATTRIBUTE_FILTERS_MAX: Final = 16
"""Attribute conditions of one list: each is a condition on three typed maps."""

AGGREGATE_BUCKETS_MAX: Final = 10_000
"""Time buckets of one aggregate: a week of minutes, several points for every pixel of a chart."""

AGGREGATE_ROWS_MAX: Final = 10_000
"""Rows of one aggregate's answer, about 2 MB; more is an export."""

PAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Content of one page, which ends early here: gRPC clients take 4 MiB in one message unless told otherwise."""

EVALUATION_TEXT_LENGTH_MAX: Final = 16 * 1024
"""Characters of an evaluation's explanation: a few pages; a judge model's whole answer still fits."""

FEED_SUBSCRIBERS_MAX: Final = 64
"""Live tails at once: each reads the store after every commit."""

FEED_TRACES_MAX: Final = 50_000
"""Traces that wait for one slow live tail, some 5 MB; past it the tail ends with an error instead of gaps."""

WATCH_BATCH_MAX: Final = 1_000
"""Traces that a live tail reads in one query."""

WATCH_SEEN_MAX: Final = 100_000
"""Traces that a live tail remembers having sent, some 10 MB: late spans of older ones may show a trace again."""

RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One answer: a span of the largest request with its input and output in their own fields as well."""

GRPC_STREAMS_MAX: Final = 256
"""Calls at once on one connection; Envoy and the SDKs open another one past it."""

GRPC_CALLS_MAX: Final = 2_048
"""Calls at once in all; past it gRPC answers RESOURCE_EXHAUSTED before a handler runs."""

GRPC_KEEPALIVE_SECONDS: Final = 60
"""Silence before the server asks whether a connection's other end is still there; proxies drop idle ones later."""

GRPC_KEEPALIVE_TIMEOUT_SECONDS: Final = 20
"""How long that answer may take: gRPC's own default."""

GRPC_PING_SECONDS_MIN: Final = 10
"""How often a client may ask the same: the least that gRPC clients use; more often is taken for an attack."""

ENVOY_RESPONSE_BYTES_MAX: Final = 2 * RESPONSE_BYTES_MAX
"""A unary answer as JSON, which Envoy holds whole: the longest message, and as much again for names and escapes."""

ENVOY_BUFFER_BYTES: Final = 64 * 1024
"""Envoy's buffer of a connection: what is read at once, and so inflated at once, to 66 MB at most."""

ENVOY_WINDOW_BYTES: Final = 1024 * 1024
"""HTTP/2 windows of Envoy: 50 MB/s from a sender 20 ms away, and what one stream that nobody reads can hold."""

ENVOY_INFLATE_RATIO_MAX: Final = 1_032
"""deflate's own limit: the body limit is what refuses a gzip bomb, for this one would cut it short in silence."""

ENVOY_HEADER_KIB_MAX: Final = 60
"""All headers of one request: Envoy's default, named so that the error can tell it."""

ENVOY_COMPRESS_BYTES_MIN: Final = 1024
"""A REST answer below this fits a packet or two; gzip would cost more than it saves."""

ENVOY_UNARY_SECONDS_MAX: Final = 60.0
"""The longest a REST or unary call may take, whatever deadline it asks for: above every query's own limit."""

ENVOY_IDLE_SECONDS_MAX: Final = 90.0
"""A request on which nothing moves: longer than the longest call, so that the deadline speaks first."""

ENVOY_HEADER_SECONDS_MAX: Final = 10.0
"""From the first byte of a request to the end of its headers; a slow sender must not hold a place."""

ENVOY_CONNECT_SECONDS_MAX: Final = 1.0
"""Connecting to the server on the same machine; a connection that takes longer will not come."""

ENVOY_CONNECTIONS_MAX: Final = 1_024
"""Connections of one port: more than the agents of one machine, fewer than the open files that a process may have."""

ENVOY_STREAMS_PER_CONNECTION_MAX: Final = 256
"""Calls at once on one HTTP/2 connection: twice what gRPC's own servers advertise."""

ENVOY_REQUESTS_MAX: Final = 1_024
"""Requests that Envoy has under way at the server: what it answers in a fifth of a second, so a queue stays short."""

ENVOY_WAITING_MAX: Final = 1_024
"""Requests that wait for a connection to the server; as many as may be under way."""

ENVOY_RETRIES_MAX: Final = 16
"""Retries at once: enough for a connection that the server closed, too few to double a load."""

ENVOY_KEEPALIVE_SECONDS: Final = 30
"""TCP keepalive towards the server; HTTP/2 pings would do it too, but gRPC servers punish them on idle connections."""

ENVOY_HTTP_BACKEND_IDLE_SECONDS: Final = 3.0
"""How long Envoy keeps an idle HTTP/1.1 connection: less than the 5 s after which uvicorn closes it."""

RETRY_SECONDS_OVERLOADED: Final = 1.0
"""When to try again after Envoy refused a request for too many others."""

ITEMS_PER_REQUEST_MAX: Final = 50_000
"""Spans, log records or points (and their resources and scopes) in one export request: six times what the
OpenTelemetry collector batches; checking that many one by one holds up other callers for half a second."""

HTTP_HEADER_BYTES_MAX: Final = 32 * 1024
"""Request line and headers of one HTTP request: four times what browsers and proxies send."""

HTTP_HEADER_SECONDS_MAX: Final = 10.0
"""How long a connection may take to send a request's headers, so that slow senders do not hold connections."""

HTTP_BODY_SECONDS_MAX: Final = 30.0
"""How long a body may take: 16 MiB in it is 4.5 Mbit/s, slower than any network an agent is run on."""

HTTP_KEEPALIVE_SECONDS: Final = 75
"""An idle connection; longer than the 60 s that proxies keep theirs, so that they, not we, close first."""

HTTP_CONNECTIONS_MAX: Final = 1_000
"""Connections of one HTTP listener: half of the 2,048 open files that a default service unit leaves us."""

HTTP_DRAIN_SECONDS: Final = 10
"""How long answers under way may take while stopping: a third of the 30 s in which the server must be down."""

HTTP_READ_CHUNK_BYTES: Final = 64 * 1024
"""Decompressed bytes asked for at a time, so that a compressed bomb is noticed at the bound, not past it."""

ENVOY_WORKERS: Final = 2
"""Envoy's threads: one makes about 5,000 REST calls/s, as many as the Python server answers, the other is spare."""

ENVOY_START_SECONDS_MAX: Final = 20.0
"""Envoy reads its configuration or becomes ready in 0.2 s; a hundred times that means that something is wrong."""

ENVOY_POLL_SECONDS: Final = 0.02
"""Between two looks at Envoy's admin interface: short against the 0.2 s that its start takes."""

ENVOY_ADMIN_SECONDS_MAX: Final = 2.0
"""One call to Envoy's admin interface, which is on the same machine and answers from memory."""

ENVOY_GRACE_SECONDS: Final = 10.0
"""How long requests under way may go on after a stop: a third of the 30 s that the whole stop may take."""

ENVOY_END_SECONDS: Final = 3.0
"""From the signal to the end of the process; past it the next signal is one that cannot be ignored."""

ENVOY_LOG_LINES_KEPT: Final = 50
"""Lines of Envoy's log that are searched for the reason why it did not start."""

ENVOY_LOG_LINE_BYTES_MAX: Final = 1024 * 1024
"""One line of Envoy's log; a refused configuration is repeated in one."""

DOCTOR_CALL_SECONDS: Final = 3.0
"""How long `doctor` waits for one answer of a server that is most often on the same machine."""

DOCTOR_READ_BYTES_MAX: Final = 1024 * 1024
"""What `doctor` reads of /readyz: another program on the port may send without end."""

DOCTOR_DISK_FREE_BYTES_MIN: Final = 1024**3
"""Free disk below which `doctor` warns: half a minute of full load in the journal."""

QUERY_SECONDS_MAX: Final = 30.0
"""One call or query whose caller gave no deadline, or a longer one: what is slower than this starves the others."""

QUERY_MEMORY_BYTES_MAX: Final = 1536 * 1024 * 1024
"""Memory of one query: three heavy ones and a commit fit into a machine of 8 GiB."""

QUERY_WORKERS: Final = 4
"""Queries that run at once: two a core keep both cores busy while one of them waits for the disk."""

QUERY_QUEUE_MAX: Final = 128
"""Queries that wait for a worker; past it callers are told to come back, before they time out."""

LOAD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Request bytes of one commit: about 40,000 spans, where the fixed cost of a commit no longer shows."""

LOAD_RECORDS_MAX: Final = 4096
"""Requests of one commit, so that a flood of tiny ones does not make one statement of unbounded length."""

HTTP_INLINE_BYTES_MAX: Final = 64 * 1024
"""A JSON body up to this size is parsed on the event loop (about 3 ms); larger ones in a thread beside it."""

LOAD_INTERVAL_SECONDS_MIN: Final = 0.1
"""Between two commits at the least: freshness that a person cannot tell from at once."""

LOAD_INTERVAL_SECONDS_MAX: Final = 1.0
"""Between two commits at the most, so that a trace is listed within about a second."""

LOAD_INTERVAL_COST_FACTOR: Final = 10
"""Commits are spaced by this many times what the last one cost: a trickle then takes a tenth of a core."""

LOAD_EAGER_BYTES: Final = 4 * 1024 * 1024
"""So many bytes waiting are committed without a pause: the fixed cost is small against them."""

LOAD_RETRY_SECONDS: Final = 1.0
"""Between attempts while the store does not answer. The journal keeps everything meanwhile."""

KNOWN_MODELS_MAX: Final = 10_000
"""(provider, model) pairs that the loader remembers as looked up; senders of random names must not fill memory."""

TRACE_QUIET_SECONDS: Final = 300
"""A trace without a root span that got nothing for so long is taken to be over: its root lies elsewhere."""

LIST_SCAN_ROWS_MAX: Final = 20_000
"""Rows of one step of a filtered list; a page that is not full by then goes on in the next call."""

SALVAGED_ITEMS_MAX: Final = 20_000
"""Items of a damaged request that are tried one by one, 10 us each, to save the sound ones."""

EXPORT_TRACES_MAX: Final = 1_000
"""Traces that one export may name: their ids still fit into a URL's query through most proxies' 64 KiB."""

SPANS_READ_FIRST: Final = 64
"""Spans of a page's first read, which tells how many more of their size fit; covers a page of the default size."""

STOP_CALLS_SECONDS: Final = 10.0
"""For calls under way when the server stops; a write takes milliseconds, a long query is its caller's to repeat."""

STOP_DRAIN_SECONDS: Final = 10.0
"""For bringing the journal into the store at a stop. What is left over is loaded at the next start."""

EXPORT_KEYS_MAX: Final = 16_384
"""Rows that an export lists by key at once, some 5 MB in Python: few such queries beside those for the contents."""

LOAD_REPAIRS_MAX: Final = 3
"""How often requests that a repeated commit left out are inserted anew: one crash can hit one of these at most."""

LOAD_LISTENER_SECONDS: Final = 1.0
"""How long the loader waits for each of those it tells of a commit; reads of that commit and the next one wait too."""

MODEL_PAIRS_PER_COMMIT_MAX: Final = 2_000
"""New (provider, model) pairs that one commit looks up, about a second; a fleet has tens. The rest waits its turn."""

ENVOY_RESTART_SECONDS_MIN: Final = 0.5
"""Before Envoy is started again after it ended by itself; doubled each time that this fails."""

ENVOY_RESTART_SECONDS_MAX: Final = 30.0
"""Between two attempts at the most: REST comes back within half a minute of whatever kept it away."""

READINESS_SECONDS: Final = 1.0
"""How often the state of the parts is looked at; probes ask every few seconds."""

LOADER_LAG_SECONDS_MAX: Final = 60.0
"""A loader that has not caught up for so long is told as behind: reads then lack the newest minute."""

SETTLE_SPANS_MAX: Final = 200_000
"""Spans that are settled at once, whole traces at a time: half a second's work in about 300 MB of memory."""

SETTLE_TRACE_SPANS_MAX: Final = 500_000
"""Spans of a trace up to which it is settled: five times what a tree can be read at; a larger one is a runaway loop."""

SETTLE_TRACES_MAX: Final = 200_000
"""Rows of traces that one pass of the settler takes, so that a restart after a long while does not fill the memory."""

SETTLE_BLOOM_TRACES_MAX: Final = 200
"""Traces up to which a bloom filter with one false hit in a thousand still rules out most of the blocks."""

SETTLE_MEMORY_BYTES_MAX: Final = 2 * 1024**3
"""One statement of the settler: a trace that needs more fails it, and not the server."""

SETTLE_INTERVAL_SECONDS_MIN: Final = 1.0
"""Between two passes of the settler at the least: a trace's spans mostly come within a second of each other."""

SETTLE_INTERVAL_SECONDS_MAX: Final = 10.0
"""Between two passes of the settler at the most. Reads that need it fresher ask for a pass."""

SETTLE_INTERVAL_COST_FACTOR: Final = 50
"""Passes are spaced by this many times what the last one cost: a trickle then takes a fiftieth of a core."""

SETTLE_OVERLAP_SECONDS: Final = 60
"""How much a restart settles again: a request may be received before one that is in the journal first, by the time
that checking it takes, and a clock may be set back a little."""

ROLL_QUIET_SECONDS: Final = 10
"""How long an hour gets nothing before it is summed up: the longest pause between two passes of the settler."""

ROLL_UNITS_MIN: Final = 2_000
"""Units of an hour below which reading them is as fast as reading their sums."""

ROLL_GROUPS_MAX: Final = 20_000
"""Groups of an hour's units past which sums save nothing: a group's sums take as long to read as a hundred units."""

ROLL_HOURS_MAX: Final = 16
"""Hours that are summed up in one go, about 50 ms each, between which new traces are settled."""

ROLL_INTERVAL_SECONDS: Final = 15.0
"""How often the settler looks for hours that have become quiet while nothing comes: 5 ms each time."""

AGGREGATE_EXACT_UNITS_MAX: Final = 200_000
"""Units up to which quantiles are exact even where sums are at hand."""

STORE_CHECK_TURNS: Final = 10
"""The store is asked whether it lives at every so manieth look at the parts: each time costs it some milliseconds."""

STOP_HEAD_START_SECONDS: Final = 2.0
"""How long Envoy may finish its requests before the servers behind it stop too; REST calls take milliseconds."""

WAITING_REQUESTS_BYTES_MAX: Final = 64 * 1024 * 1024
"""Requests that are remembered until they are loaded: two commits of the largest size, searched in some 30 ms."""

RECENT_RECORDS_MAX: Final = 65_536
"""Records without a start time that CreateTrace remembers (8 MB): a minute of repetitions at a thousand a second."""

SETTLED_WAIT_SECONDS_MAX: Final = 0.5
"""How long an aggregate waits for the latest spans to be settled; under load it answers without the last seconds."""

ANALYSIS_WAIT_SECONDS_MAX: Final = 10.0
"""The same for scores, benchmarks and learning, which are asked right after tasks were sent, and decide things."""

TASKS_SINGLE_MAX: Final = 5_000
"""Tasks of an agent up to which analyses see each by itself; past it they see buckets, which lose nothing they need."""

TASK_BUCKETS: Final = 240
"""Buckets that a period is cut into for analyses: four for each of the sixty points of a trend."""

TASK_SUMS_MAX: Final = 60_000
"""Rows of sums that one analysis reads (about 30 MB): every single task, or buckets of some hundred task types."""

EVALUATIONS_SCORED_MAX: Final = 200_000
"""Judgements that one score reads; a mean of so many is exact to a thousandth."""

AGENT_METRICS_MAX: Final = 50
"""Metrics of an agent's own whose means one answer holds, by name."""

AGENT_CHANGES_MAX: Final = 200
"""Versions, models and prompts of one period that a change point is explained by; more change all the time."""

BENCHMARK_AGENTS_MAX: Final = 100
"""Agents of one benchmark: rank intervals compare every pair, half a second for so many."""

BENCHMARK_TASK_TYPES_MAX: Final = 200
"""Task types that one benchmark names."""

BENCHMARK_TASKS_MAX: Final = 100_000
"""Latest tasks of a type that a benchmark may ask for: a success rate is known to a third of a point from so many."""

SCORED_AGENTS_MAX: Final = 500
"""Agents whose last score is published as a metric, the latest scored; each is four series."""

WORKFLOW_TRACES_MAX: Final = 200
"""Traces of a workflow that are replayed, the latest: intervals over so many are tight, and it takes seconds."""

WORKFLOW_SPANS_MAX: Final = 40_000
"""Spans of all of them together: 100 MB while they are replayed, 700 MB if every text were as long as may be."""

WORK_TEXT_BYTES_MAX: Final = 8192
"""Of a call's input and output, in which is looked for what one call passed on to another. A longer one counts as not
recorded: if it were cut, what was passed on further down would be missed, and a wrong change suggested."""

CRITICAL_PATH_SPANS_MAX: Final = 100_000
"""Spans of a trace whose critical path is looked for: a third of a second."""

REPEATED_TASKS_MAX: Final = 200_000
"""Tasks of an agent among which repeated ones are looked for; agents with more work on tasks that do not repeat."""

PASS_K_MAX: Final = 16
"""Tries of one task up to which pass^k is told; benchmarks try four to eight times."""

SIMILAR_LIMIT_DEFAULT: Final = 10
"""Similar traces that an answer holds where the caller says nothing: one screen."""

SIMILAR_LIMIT_MAX: Final = 100
"""Similar traces of one answer: further down they are not similar any more."""

INDEXED_WAIT_SECONDS_MAX: Final = 3.0
"""How long a call waits for the latest traces to be findable: twice what starting the index takes. While more traces
come than can be indexed, it answers without the last ones."""

SIMILAR_SPARE: Final = 20
"""Traces that are looked up beyond the limit at first, since some are gone, or have another status by now."""

SIMILAR_LOOKED_UP_MAX: Final = 1_000
"""Traces that are looked up for one answer; where more of the nearest are gone, the index is about to be tidied."""

SIMILAR_TRACES_MAX: Final = 100_000
"""Traces that can be found as similar ones, the latest: 250 MB of disk, and 30 ms to compare with every one."""

SIMILAR_TRACES_SLACK: Final = 25_000
"""Traces beyond those before the oldest go: removing them costs a second, so it is not done for each."""

OUTLINE_SPANS_MAX: Final = 1_000
"""Of a trace's spans, the first, that similarity looks at: a loop's later turns look like its first."""

OUTLINE_TEXT_MAX: Final = 1_500
"""Characters of a trace's texts that similarity looks at, errors first: more takes milliseconds and tells no more."""

OUTLINE_INPUT_BYTES_MAX: Final = 400
"""Of one span's input or error message: what is asked for is said first, and every span is to have its say."""

OUTLINE_READ_SPANS_MAX: Final = 20_000
"""Spans of many traces that are read for similarity at once: 20 MB, a tenth of a second."""

INDEX_BATCH_TRACES: Final = 512
"""Traces made findable in one go: the queries' fixed cost, 60 ms, is a tenth of a millisecond for each."""

INDEX_INTERVAL_SECONDS_MIN: Final = 10.0
"""Pause before new traces are made findable, so that most of them are whole by then, and a trickle costs a hundredth of
a core. Who asks for similar traces does not wait for it."""

INDEX_COST_FACTOR: Final = 9
"""A pause is so many times as long as the work before it, which so takes at most a tenth of a core."""

INDEX_RETRY_SECONDS: Final = 10.0
"""How often a store, an embedder or a vector index that is down is asked again by the work in the background."""

INDEX_SAVE_SECONDS: Final = 60.0
"""How often is remembered what is findable: a crash repeats as much, and making it durable takes half a second."""

INDEX_UPKEEP_SECONDS: Final = 3600.0
"""How often what is past its retention leaves the vector index; answers never show it."""

INDEX_RANGES_MAX: Final = 64
"""Gaps of receipt time that wait to be indexed; past it the oldest two are taken as one, and some of it done again."""

INDEX_FORGOTTEN_MAX: Final = 10_000
"""Deleted traces that wait for a vector index which is down; answers never show them."""

EMBEDDED_AT_ONCE: Final = 16
"""Traces embedded between two turns of other threads: some milliseconds."""

IDF_TEXTS_MIN: Final = 500
"""Traces after which words are weighted by how rare they are; of fewer that says little."""

IDF_GROWTH: Final = 10
"""The weights are made anew when there are so many times as many traces: three times in all, each re-embeds them."""

IDF_TEXTS_MAX: Final = 5_000
"""Texts, the latest, that the weights are made of: how rare a word is does not change much with more."""

VECTORS_START_SECONDS_MAX: Final = 20.0
"""Until the process of the embedded vector index answers: it loads 100,000 vectors in a third of a second."""

VECTORS_CALL_SECONDS_MAX: Final = 120.0
"""After which the process of the embedded vector index is taken for stuck; its tidying takes up to ten seconds."""

VECTORS_ANSWER_SECONDS_MAX: Final = 10.0
"""How long a call waits for the vector index, which may be tidying, before it is told that the index is down."""

VECTORS_IDLE_SECONDS: Final = 120.0
"""After which the process of the embedded vector index ends, to free its memory; the next call starts it again."""

VECTORS_FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
"""One message between the server and that process: a batch is 2 MB, so that more is no message."""

EMBEDDING_TEXTS_MAX: Final = 64
"""Traces of one request to an embedding service; providers take from 96 on."""

EMBEDDING_CHARACTERS_MAX: Final = 8_000
"""Of a trace's text sent to an embedding service: within the 8,191 tokens that models take, whatever the language."""

EMBEDDING_SECONDS_MAX: Final = 30.0
"""For an embedding service to answer one request; a local model takes some seconds for 64 texts."""

EMBEDDING_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""An embedding service's answer: 64 vectors of 4,096 numbers in JSON are 6 MB."""

RCA_COMPONENTS_MAX: Final = 2_000
"""Components of one root cause analysis: large meshes have a thousand services, and features are made for each."""

RCA_SERIES_MAX: Final = 50_000
"""Metrics, log templates and edges of one analysis, within a second of arithmetic."""

RCA_BUCKETS_MAX: Final = 4_000
"""Buckets of one analysis: a minute each, two days and more."""

RCA_CHANGES_MAX: Final = 500
"""Deploys, commits, flags and settings of one analysis: a busy day's; the diff of each is read."""

RCA_DIFF_CHARACTERS_MAX: Final = 64 * 1024
"""Read of one change's diff: what is longer is generated, or a move."""

RCA_CANDIDATES_MAX: Final = 10
"""Candidates of an answer: nobody reads on after the tenth."""

RCA_EVIDENCE_MAX: Final = 30
"""Pieces of evidence of an answer, the strongest."""

INCIDENTS_READ_MAX: Final = 1_000
"""Incidents of a time looked at together: an analysis leaves their times out of what is usual."""

TELEMETRY_RUNS_MAX: Final = 128
"""Stretches of contiguous buckets in one analysis: the same hour of four months of days; each is a condition."""

TELEMETRY_SAMPLE_SPANS_MAX: Final = 150_000
"""Spans matched with their parents, whole traces: half a second, and means of some hundred services settle."""

TELEMETRY_SAMPLE_LOGS_MAX: Final = 150_000
"""Log records below a warning that are masked and counted, a quarter second; of more, a sample stands for all."""

TELEMETRY_METRIC_SERIES_MAX: Final = 3_000
"""Metric series of one analysis, those that moved most: a third of a second; what did not move tells nothing."""

SERIES_LABELS_KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Labels of metric series in memory, those asked for last: some ten thousand series."""

LOG_TEMPLATES_READ_MAX: Final = 2_000
"""Masked log lines of one analysis, the most frequent and those that changed most; a service has some hundred."""

LOG_BODY_BYTES_READ_MAX: Final = 4 * 1024
"""Of one log line, to show it: a message with a stack trace."""

CHANGE_EVENTS_READ_MAX: Final = 2_000
"""Events read to tell RCA_CHANGES_MAX changes: commits go live in several services each."""

CHANGE_EVENTS_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of these events together: two thousand with a long diff each."""

FAILURE_SPANS_MAX: Final = 50_000
"""Spans of a run that is attributed or signed: half a second of reading; its steps are at most as many."""

FAILURE_TEXT_BYTES_MAX: Final = 20_000
"""Of each half of a step's text that is read, its beginning and its end."""

FAILURE_RUN_BYTES: Final = 8_000_000
"""Of a run's outputs read together: a run of more than 200 steps has its texts cut shorter."""

FAILURE_READ_SPANS_MAX: Final = 10_000
"""Spans of several failed runs that are read at once: tens of MB."""

FAILURE_BATCH_TRACES: Final = 256
"""Failed runs signed in one go: the statements' fixed cost, 100 ms, is half a millisecond for each."""

FAILURE_PASS_TRACES_MAX: Final = 200_000
"""Traces among which one pass looks for failed ones, after an import: tens of MB."""

FAILURE_INTERVAL_SECONDS_MIN: Final = 5.0
"""Pause before newly failed runs are signed, so that most of them are whole by then. Who lists groups does not wait."""

FAILURE_COST_FACTOR: Final = 9
"""A pause is so many times as long as the work before it, which so takes at most a tenth of a core."""

FAILURE_RETRY_SECONDS: Final = 10.0
"""How often a store that is down is asked again by the signing in the background."""

FAILURE_SAVE_SECONDS: Final = 60.0
"""How often is remembered what is signed: a crash repeats as much."""

FAILURES_WAIT_SECONDS_MAX: Final = 5.0
"""How long a list of groups waits for the latest failed runs to be signed; then it says that some are missing."""

FAILURE_GROUP_AGENTS_MAX: Final = 100
"""Agents that a group names: a group of more fails whichever agent it is."""

FAILURE_GROUP_SAMPLES: Final = 50
"""Traces that a group names, the latest: enough to look for what they have in common; a page of them is 2 MB."""

FAILURE_BUCKETS_MAX: Final = 90
"""Parts of a period that a group's trend is told by: days, of a longer period several days each."""

INCIDENT_ENTRIES_MAX: Final = 64
"""Labels of an incident, and as many annotations: alert rules have ten or so."""

INCIDENT_VALUE_LENGTH_MAX: Final = 4096
"""Characters of a label's or annotation's value: a description of a screen. What an alert has more is cut."""

INCIDENT_CHARACTERS_MAX: Final = 64 * 1024
"""Characters of an incident's labels and annotations together, so that the longest page of a list can be read."""

INCIDENT_TRACE_IDS_MAX: Final = 100
"""Traces named as examples of an incident: an analysis looks at no more."""

ALERTS_MAX: Final = 10_000
"""Alerts of one webhook, a third of a second to read; Alertmanager's `max_alerts` makes it send fewer."""

RCA_WINDOW_SECONDS_MAX: Final = 7 * 86_400
"""Before an incident that an analysis compares with: a week has seen every weekday; buckets of half an hour then."""

RCA_WINDOW_SECONDS_MIN: Final = 60
"""A shorter one holds no bucket."""

RCA_DEPTH_MAX: Final = 10
"""Calls followed from the alerting service: longer roads through a system are not waited for."""

RCA_INCIDENT_SECONDS_MAX: Final = 3600
"""Of an incident that is looked at, from its start: what caused it shows in its first hour, if ever."""

RCA_BASELINE_REACH_SECONDS: Final = 86_400
"""How far off it is looked for what is usual where the window before the incident holds too little: a day and night."""

RCA_BASELINE_FAR_SECONDS: Final = 180 * 86_400
"""The same where nothing at all was received for a day: about as long as data are kept."""

RCA_CHANGES_SECONDS: Final = 7 * 86_400
"""How long before an incident a change may have gone live: a leak takes days to show."""

RCA_CHANGE_NEAR_SECONDS: Final = 3600
"""Before an incident, in which a change of the component that is named is told though nothing but its time speaks for
it: longer ago, most services have had one."""

RCA_LABEL_CHARACTERS_MAX: Final = 16 * 1024
"""Of an incident's title, labels and annotations that are read for words."""

TRACE_ROOT_SPANS_MAX: Final = 100
"""First spans of a trace among which its root is looked for; a root that began later is taken for missing."""

CORRELATION_WINDOW_SECONDS_MAX: Final = 24 * 3600
"""Either side of a trace in a search for what belongs with it: what is a day away is not near it."""

CORRELATION_TRACE_SECONDS_MAX: Final = 24 * 3600
"""Of a trace, its last part, around which is searched; a longer one is many things at once."""

CORRELATION_BUCKETS_MAX: Final = 240
"""Buckets of window and past together: 20,000 series of so many are 40 MB and two seconds of arithmetic."""

CORRELATION_SPANS_MAX: Final = 20_000
"""Spans of a trace, the earliest and the failed ones, that tell where it failed and what it is tied to."""

CORRELATION_CANDIDATES_MAX: Final = 5_000
"""Traces with the same failure or operation, the latest, that are held against the window: a rate needs no more."""

CORRELATION_TIES_MAX: Final = 200
"""Traces that share a session, task or link; an id that more of them share is a name and ties nothing."""

CORRELATION_LIST_MAX: Final = 50
"""Traces, metrics, log lines and events of one answer, each: nobody reads on."""

CORRELATION_TRACE_LOGS_MAX: Final = 500
"""Log records of the trace itself that are read, the most severe first; lines that say the same are shown as one."""

CORRELATION_SERVICES_MAX: Final = 5
"""Services of the trace with whose errors and latency metrics are held together: more would only be more chance."""

GRAPH_NODES_MAX: Final = 500
"""Components of a service graph's answer, those with the most calls: a drawing of more cannot be read."""

GRAPH_EDGES_MAX: Final = 2_000
"""Edges of a service graph's answer, those with the most calls."""

GRAPH_BUCKET_NODES_MAX: Final = 2_000
"""Components that the graph keeps of five minutes: four times what an answer holds, so that those of an hour add up."""

GRAPH_BUCKET_EDGES_MAX: Final = 8_000
"""Edges that the graph keeps of five minutes, for the same reason; a megabyte or two."""

GRAPH_PAIRS_MAX: Final = 100_000
"""Pairs of callers and callees among which roads are looked for, those with the most calls: half a second."""

GRAPH_FACTS_READ_MAX: Final = 1_000
"""Incidents and causes of a time that the graph shows, the latest."""

GRAPH_BATCH_BUCKETS: Final = 64
"""Buckets that are made at once, for together their statements cost as much as one; fewer where that is too much."""

GRAPH_WORK_SECONDS: Final = 1.0
"""Of one turn of the work in the background, after which it rests."""

GRAPH_INTERVAL_SECONDS_MIN: Final = 10.0
"""Between two looks for calls that are not in the graph yet. Who asks for the graph does not wait for it."""

GRAPH_COST_FACTOR: Final = 30
"""A pause is so many times as long as the work before it, which so takes a thirtieth of a core."""

GRAPH_INTERVAL_SECONDS_MAX: Final = 300.0
"""And no longer than this: a bucket's length."""

GRAPH_RETRY_SECONDS_MIN: Final = 1.0
"""Before a graph database that did not answer is asked again; doubled each time."""

GRAPH_RETRY_SECONDS_MAX: Final = 60.0
"""Between two attempts at the most: after it comes back, the graph database lags by a minute and what it missed."""

GRAPH_CONNECT_SECONDS: Final = 5.0
"""Until a graph database takes a connection; also those that are far away do."""

GRAPH_CALL_SECONDS_MAX: Final = 20.0
"""One transaction of the graph database. A bucket's takes a tenth of a second, the first of a cold server seconds."""

GRAPH_ANSWER_SECONDS_MAX: Final = 5.0
"""How long a call waits for the graph database before the store answers in its place."""

GRAPH_REFUSED_MAX: Final = 1_000
"""Buckets that are remembered as too much to make, so that they are not tried again until more of them is settled."""

GRAPH_REPLICA_ROWS: Final = 10_000
"""Nodes and edges that are copied to the graph database at once: some 20 MB."""

GRAPH_REPLICA_DAYS: Final = 30
"""Days of calls that the graph database holds, five minutes each: a million edges or two for a hundred components."""

GRAPH_REPLICA_TRIM_SECONDS: Final = 3600.0
"""How often what is older leaves the graph database."""

GRAPH_REPLICA_HOURS_MAX: Final = 24
"""Periods up to this are answered by the graph database, longer ones by the store, which adds up faster."""

SPAN_FAILURES_READ_MAX: Final = 2_000
"""Different messages of failed spans read for one analysis, the most frequent: a system says far fewer things."""

WATCHED_REFRESH_HOURS_MAX: Final = 400
"""Hours that the detector makes buckets of in one statement, and the rest of those settled together: two weeks."""

WATCHED_READ_HOURS_MAX: Final = 8_192
"""Hours of services and agents that the detector reads and judges at once, three weeks of sixteen: 100,000 buckets,
30 MB while they are read."""

WATCHED_SUBJECTS_MAX: Final = 2_000
"""Services and agents that the detector keeps in memory, the last that something was received of: some kB each. Of
another one, what is usual is read again."""

WATCHED_SAMPLES: Final = 5
"""Traces that a detected incident names."""

DETECT_LATE_SECONDS: Final = 60
"""After the end of a bucket until it is judged: exporters send every few seconds, and settling takes its pause."""

DETECT_STRAGGLING_SECONDS: Final = 86_400
"""What comes for a bucket that is judged already changes nothing so long; later it is history that somebody imports,
and judged anew."""

DETECT_PARTIAL_SECONDS: Final = 2.0
"""How long the newest bucket of imported history waits for the rest of it."""

DETECT_INTERVAL_SECONDS_MIN: Final = 10.0
"""Pause before what was received is looked at, so that imports are looked at in large pieces."""

DETECT_INTERVAL_SECONDS_MAX: Final = 30.0
"""And no longer than this, so that years that somebody imports are judged in minutes."""

DETECT_SLICE_SECONDS: Final = 3.0
"""After which the detector pauses, though more is to be judged: it takes turns with whatever else the process does."""

DETECTED_WAIT_SECONDS_MAX: Final = 3.0
"""How long a list of incidents waits for the latest spans to be judged; two weeks of a service take a tenth of it."""

DETECT_RETRY_SECONDS: Final = 10.0
"""How often a store that is down is asked again by the detector."""

DETECT_COST_FACTOR: Final = 3
"""A pause is so many times as long as the work before it."""

DETECT_EPISODES_MAX: Final = 1_000
"""Detected incidents that are remembered of a service, the last: a new alarm may belong to one of them."""

CORRELATION_SIMILAR_SECONDS_MAX: Final = 2.5
"""How long a search for what belongs with a trace waits for similar traces: starting their index takes 1.5 s."""

CORRELATION_READS_AT_ONCE: Final = 3
"""Queries of one search for what belongs with a trace that run at once: of four workers, one is left to others."""

CORRELATION_WAIT_SECONDS_MAX: Final = 3.0
"""How long a search for what belongs with a trace waits for the latest data; then it answers without and says so."""

RCA_WAIT_SECONDS_MAX: Final = 8.0
"""The same for a root cause, which decides more and may be asked right after its telemetry was sent."""

EXPORTERS_MAX: Final = 16
"""Further OTLP backends that telemetry is passed on to: each has a reader of the journal and connections of its own."""

EXPORT_BATCH_BYTES: Final = 2 * 1024 * 1024
"""Requests sent on to a backend in one: half of what gRPC servers take by default, some thousand spans."""

EXPORT_BATCH_RECORDS: Final = 512
"""And no more requests than this, so that many small ones are passed on in steps, too."""

EXPORT_LINGER_SECONDS: Final = 0.2
"""How long an exporter lets requests gather, unless a batch is full: ten small ones cost what one does."""

EXPORT_RETRY_SECONDS_MIN: Final = 0.5
"""First pause after a backend did not answer; it doubles with each further time."""

EXPORT_RETRY_SECONDS_MAX: Final = 30.0
"""Longest pause of the exporters' own: a backend that is back gets its telemetry within half a minute."""

EXPORT_RETRY_AFTER_SECONDS_MAX: Final = 600.0
"""Longest pause that a backend can ask for: a wrong clock must not stop an exporter for a day."""

EXPORT_FAILURES_MAX: Final = 16
"""Times that a backend may fail (HTTP 500, gRPC INTERNAL) in a row on the same request until it is given up: with the
pauses between, 2.5 to 5 minutes, in which a backend restarts. By OTLP none of these would be sent again at all."""

EXPORT_DOUBTS_MAX: Final = 5
"""Times in a row that a backend must not take a signal while it takes another, until it counts as one that lacks it:
with the pauses between, 4 to 8 seconds, in which a proxy's paths or a backend's parts come up one after another."""

EXPORT_ASK_AGAIN_SECONDS: Final = 30.0
"""How often a backend is asked for a signal that it lacks: one that has learnt it gets it within half a minute."""

EXPORT_TELL_SECONDS: Final = 60.0
"""How often the log says that a backend leaves items out, of each signal and reason: the counters have each of them."""

EXPORT_KEEPALIVE_SECONDS: Final = 2.0
"""How long an unused HTTP connection to a backend is kept: less than the 5 s after which uvicorn (Phoenix) closes its
end, for a request at that moment is lost with the connection. SDKs send each 5 s."""

EXPORT_REFUSALS_MAX: Final = 256
"""Refused requests while the bad items of one batch are looked for by halving: enough for ten bad ones among thousands.
A backend that refuses everything costs this much a batch."""

EXPORT_HOLD_SECONDS: Final = 120.0
"""How long the cursor stays behind what Phoenix has acknowledged. Phoenix queues spans in memory, and loses them when
it is killed; what it has already, it tells by the span's id."""

EXPORT_STOP_SECONDS: Final = 3.0
"""For what exporters have still to send when the server stops. What is left over is sent after the next start."""

EXPORT_ANSWER_BYTES_MAX: Final = 64 * 1024
"""What is read of a backend's answer: partial success and a reason are shorter."""

EXPORT_REASON_CHARACTERS_MAX: Final = 200
"""What is kept of a reason that a backend gives, for the log."""

EXPORT_RESOLVE_SECONDS: Final = 2.0
"""How long a start waits for the addresses of the exporters' hosts, to see whether one is the server itself."""

EXPORT_THRIFT_SPANS_MAX: Final = 4_000
"""Spans in one request to Jaeger's Thrift collector: below the 20 MiB that it takes, and 4 MiB of most spans."""

LABEL_LENGTH_MAX: Final = 128
"""Characters of a label's value in the server's metrics: the longest names of models are half of that."""

LABELLED_MODELS_MAX: Final = 64
"""Pairs of provider and model with series of their own, 16 or so each; teams use some ten. Others are `other`."""

LABELLED_AGENT_TYPES_MAX: Final = 64
"""Types of agents with series of their own, 18 or so each. Further ones are `other`."""

UNCERTAIN_TASKS_MAX: Final = 100_000
"""Tasks that wait until it is certain that they are tasks, in 40 MB; past that, those that waited longest count."""

SCORE_PUBLISH_AGENTS: Final = 20
"""Agents that are scored for the metrics before a pause: a tenth of a second each or less."""

SCORE_PUBLISH_COST_FACTOR: Final = 50
"""A pause is so many times as long as the scoring before it: a fiftieth of a core at most goes into it."""

SCORE_PUBLISH_SECONDS_MIN: Final = 5.0
"""Between two looks at which agents have worked: twice while Prometheus waits to scrape again."""

SCORE_PUBLISH_RETRY_SECONDS: Final = 30.0
"""How often a store that is down is asked again for the agents to score."""
