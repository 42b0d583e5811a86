"""What is measured; names and meanings are documented in docs/metrics.md, which a test compares."""

from prometheus_client import Counter, Gauge, Histogram

append_queue = Gauge("bellwether_append_queue", "Publications that wait for the log writer.")
append_refused = Counter(
    "bellwether_append_refused", "Publications refused because the append queue was full."
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
messages_replayed = Counter("bellwether_messages_replayed", "Messages sent as part of replays.")
gaps_told = Counter("bellwether_gaps_told", "Gap frames sent.")
log_read_failures = Counter("bellwether_log_read_failures", "Reads of the log that failed.")

connections = Gauge("bellwether_connections", "Open connections, authenticated or not.")
connections_accepted = Counter("bellwether_connections_accepted", "Connections accepted.")
connections_refused = Counter(
    "bellwether_connections_refused", "Upgrades refused.", labelnames=("status",)
)
connections_closed = Counter(
    "bellwether_connections_closed", "Connections closed, by close code.", labelnames=("code",)
)
subscriptions = Gauge("bellwether_subscriptions", "Subscriptions in force on this server.")
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
sweep_runs = Counter("bellwether_sweep_runs", "Runs of each sweep.", labelnames=("sweep",))
sweep_changes = Counter(
    "bellwether_sweep_changes", "Rows that each sweep changed.", labelnames=("sweep",)
)
