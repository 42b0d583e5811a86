"""What is measured; names and meanings are documented in docs/metrics.md, which a test compares."""

from prometheus_client import Counter, Gauge, Histogram

append_queue = Gauge("bellwether_append_queue", "Publications that wait for the log writer.")
append_queue_bytes = Gauge(
    "bellwether_append_queue_bytes", "Bytes of the publications that wait for the log writer."
)
append_refused = Counter(
    "bellwether_append_refused",
    "Publications refused because the append queue was full, or its publisher had its share.",
    labelnames=("why",),
)
publish_requests = Gauge("bellwether_publish_requests", "REST requests to publish being served.")
publish_body_bytes = Gauge(
    "bellwether_publish_body_bytes", "Memory promised to the bodies of REST requests to publish."
)
publish_refused = Counter(
    "bellwether_publish_refused",
    "REST requests to publish refused for the number, or the bytes, of those being served.",
    labelnames=("why",),
)
requests_refused = Counter(
    "bellwether_requests_refused",
    "HTTP requests refused because their head was too long, or they did not come in time.",
    labelnames=("status",),
)
append_failures = Counter(
    "bellwether_append_failures", "Groups that could not be committed; their publishers got 503."
)
append_batch_size = Histogram(
    "bellwether_append_batch_size",
    "Publications that shared a transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
messages_appended = Counter("bellwether_messages_appended", "Messages committed to the log.")
messages_ephemeral = Counter(
    "bellwether_messages_ephemeral", "Messages of ephemeral topics, relayed and not kept."
)

hints_waiting = Gauge("bellwether_hints_waiting", "Hints that wait for the bus.")
hints_sent = Counter("bellwether_hints_sent", "Hints given to the bus.")
hints_dropped = Counter(
    "bellwether_hints_dropped", "Hints not given to the bus: queue full, bus away or too slow."
)
hints_received = Counter("bellwether_hints_received", "Hints that came from the bus.")
hints_repeated = Counter(
    "bellwether_hints_repeated", "Hints that brought nothing new and were dropped."
)
hints_foreign = Counter(
    "bellwether_hints_foreign",
    "Hints of another life of the log, or from beyond its head, that were dropped.",
)
holes_filled = Counter(
    "bellwether_holes_filled", "Messages read from the log because no hint brought them in time."
)
log_reads = Counter("bellwether_log_reads", "Reads of the log by the hub.")
replay_reads = Counter(
    "bellwether_replay_reads", "Reads of the log for clients that caught up; shared where possible."
)
replay_reads_waiting = Gauge(
    "bellwether_replay_reads_waiting", "Reads for clients that catch up that wait for their turn."
)
replay_reads_refused = Counter(
    "bellwether_replay_reads_refused",
    "Reads for clients that catch up that were refused: the line was too long.",
)
replay_cache_bytes = Gauge(
    "bellwether_replay_cache_bytes", "Estimated size of the messages kept for replays."
)
replays = Counter("bellwether_replays", "Replays that ended, by how.", labelnames=("outcome",))
replays_refused = Counter(
    "bellwether_replays_refused",
    "Requests to replay refused: one under way, too many waiting, or too many by one client.",
    labelnames=("why",),
)
messages_replayed = Counter("bellwether_messages_replayed", "Messages sent as part of replays.")
gaps_told = Counter("bellwether_gaps_told", "Gap frames sent.")
log_read_failures = Counter("bellwether_log_read_failures", "Reads of the log that failed.")

health = Gauge(
    "bellwether_health",
    "How well this server is, from 0.1 to 1, as it tells clients that adapt to it.",
)
loop_lag = Gauge(
    "bellwether_loop_lag_seconds", "Seconds by which the event loop was late in the last seconds."
)
tasks = Gauge("bellwether_tasks", "Tasks in the event loop of this server.")
connections = Gauge("bellwether_connections", "Open connections, authenticated or not.")
connections_unauthenticated = Gauge(
    "bellwether_connections_unauthenticated", "Open connections that have not authenticated yet."
)
connections_accepted = Counter("bellwether_connections_accepted", "Connections accepted.")
reconnects = Counter(
    "bellwether_reconnects",
    "Clients that authenticated after another connection, by why they say that ended.",
    labelnames=("reason",),
)
connect_attempts = Histogram(
    "bellwether_connect_attempts",
    "Retries that clients say it took them to connect.",
    buckets=(0, 1, 2, 3, 5, 10, 20, 50, 100),
)
connections_refused = Counter(
    "bellwether_connections_refused", "Upgrades refused.", labelnames=("status",)
)
connections_closed = Counter(
    "bellwether_connections_closed", "Connections closed, by close code.", labelnames=("code",)
)
subscriptions = Gauge("bellwether_subscriptions", "Subscriptions in force on this server.")
openings_waiting = Gauge(
    "bellwether_openings_waiting", "Clients that authenticate and wait for their session."
)
opening_batch_size = Histogram(
    "bellwether_opening_batch_size",
    "Clients whose sessions were opened in one transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
openings_refused = Counter(
    "bellwether_openings_refused", "Clients told to come again because too many authenticate."
)
refreshes_waiting = Gauge(
    "bellwether_refreshes_waiting", "Fresh tokens of open connections that wait to be proven."
)
refresh_batch_size = Histogram(
    "bellwether_refresh_batch_size",
    "Fresh tokens that were proven together.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
refreshes_refused = Counter(
    "bellwether_refreshes_refused",
    "Fresh tokens not looked at: too many waited, or their connection sent too many.",
    labelnames=("why",),
)
subscription_changes_waiting = Gauge(
    "bellwether_subscription_changes_waiting",
    "Requests to subscribe or unsubscribe that wait for the database.",
)
subscription_batch_size = Histogram(
    "bellwether_subscription_batch_size",
    "Subscriptions made and ended in one transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
subscription_changes_refused = Counter(
    "bellwether_subscription_changes_refused",
    "Requests to subscribe or unsubscribe refused because too many waited.",
)
frames_received = Counter("bellwether_frames_received", "Frames received from clients.")
errors_sent = Counter("bellwether_errors_sent", "Error frames sent, by code.", labelnames=("code",))
messages_delivered = Counter(
    "bellwether_messages_delivered", "Messages handed to connections' buffers."
)
messages_encoded = Counter(
    "bellwether_messages_encoded",
    "Messages encoded, once per codec whoever gets them; replays encode their own form.",
    labelnames=("codec",),
)
frames_framed = Counter(
    "bellwether_frames_framed",
    "WebSocket frames built, once per encoded frame whoever gets it.",
    labelnames=("codec",),
)
messages_expired = Counter(
    "bellwether_messages_expired", "Messages not delivered because they had expired."
)
messages_filtered = Counter(
    "bellwether_messages_filtered",
    "Live messages not given to a connection because its filters do not want them.",
)
messages_dropped = Counter(
    "bellwether_messages_dropped",
    "Ephemeral messages that gave way because a connection did not keep up; it was told how many.",
)
buffers_overflowed = Counter(
    "bellwether_buffers_overflowed", "Connections closed because their buffer was full."
)
session_writes_dropped = Counter(
    "bellwether_session_writes_dropped",
    "Session changes not written because their queue was full; the sweep corrects the rows.",
)
acks_dropped = Counter(
    "bellwether_acks_dropped",
    "Cursors of acks not written because their queue was full; the next ack says the same.",
)
redeliveries_given_up = Counter(
    "bellwether_redeliveries_given_up",
    "Wishes for redelivery that a connection did not take in time, or had too many of.",
)
sweep_runs = Counter(
    "bellwether_sweep_runs", "Runs of each sweep that succeeded.", labelnames=("sweep",)
)
sweep_failures = Counter(
    "bellwether_sweep_failures", "Runs of each sweep that failed.", labelnames=("sweep",)
)
sweep_changes = Counter(
    "bellwether_sweep_changes", "Rows that each sweep changed.", labelnames=("sweep",)
)
retention_lag = Gauge(
    "bellwether_retention_lag_seconds",
    "Seconds by which purging is behind what the rules of retention ask for.",
    labelnames=("rule",),
)
