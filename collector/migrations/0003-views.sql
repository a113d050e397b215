-- What other programs (Grafana above all) may read: views in a schema of their own, with the rights of their owner, and a
-- role that may read them and nothing else. The tables can change; what these views say does not.
--
-- The schema is not called as the owner may be: PostgreSQL looks into a schema named like the user first, and the
-- collector would find these views in place of its tables.

CREATE SCHEMA IF NOT EXISTS tidemark_views;
COMMENT ON SCHEMA tidemark_views IS 'Tidemark, for reading: nodes, series, samples, observations and what follows from them. See docs/how-to/grafana.md.';

CREATE VIEW tidemark_views.nodes AS
SELECT n.id AS node_id, n.name AS node, n.site, n.tags, n.state, n.agent_version, n.interval_seconds, n.created_at, n.state_changed_at,
  (SELECT max(b.last_report_at) FROM boots b WHERE b.node_id = n.id) AS last_report_at
FROM nodes n;
COMMENT ON VIEW tidemark_views.nodes IS 'Machines with an agent, those that were retired included.';
COMMENT ON COLUMN tidemark_views.nodes.node_id IS 'Permanent, while a name can change and, once its node is retired, be given again.';
COMMENT ON COLUMN tidemark_views.nodes.node IS 'The name.';
COMMENT ON COLUMN tidemark_views.nodes.site IS 'Empty for none.';
COMMENT ON COLUMN tidemark_views.nodes.tags IS 'An object of words.';
COMMENT ON COLUMN tidemark_views.nodes.state IS 'pending, approved, revoked or retired.';
COMMENT ON COLUMN tidemark_views.nodes.agent_version IS 'Of the last report.';
COMMENT ON COLUMN tidemark_views.nodes.interval_seconds IS 'How often the agent reports.';
COMMENT ON COLUMN tidemark_views.nodes.created_at IS 'When it was added.';
COMMENT ON COLUMN tidemark_views.nodes.state_changed_at IS 'Since when it is in this state.';
COMMENT ON COLUMN tidemark_views.nodes.last_report_at IS 'The newest report in the store; null before the first.';

CREATE VIEW tidemark_views.series AS
SELECT s.id AS series_id, n.id AS node_id, n.name AS node, n.site, s.metric, s.labels, s.unit, s.type, s.help
FROM series s JOIN nodes n ON n.id = s.node_id;
COMMENT ON VIEW tidemark_views.series IS 'Every series that a node ever sent.';
COMMENT ON COLUMN tidemark_views.series.series_id IS 'Permanent.';
COMMENT ON COLUMN tidemark_views.series.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.series.node IS 'The name of the node.';
COMMENT ON COLUMN tidemark_views.series.site IS 'The site of the node.';
COMMENT ON COLUMN tidemark_views.series.metric IS 'The name: docs/reference/metrics.md.';
COMMENT ON COLUMN tidemark_views.series.labels IS 'An object; labels ->> ''mountpoint'' is one of them.';
COMMENT ON COLUMN tidemark_views.series.unit IS 'seconds, bytes, ratio (0 to 1) or empty.';
COMMENT ON COLUMN tidemark_views.series.type IS 'counter or gauge.';
COMMENT ON COLUMN tidemark_views.series.help IS 'What it means.';

CREATE VIEW tidemark_views.reports AS
SELECT r.at, n.id AS node_id, n.name AS node, n.site
FROM reports r JOIN nodes n ON n.id = r.node_id;
COMMENT ON VIEW tidemark_views.reports IS 'When reports were taken. Cheap: to read a long time, choose a report an hour here and join samples by node_id and at.';
COMMENT ON COLUMN tidemark_views.reports.at IS 'When the report was taken.';
COMMENT ON COLUMN tidemark_views.reports.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.reports.node IS 'The name of the node.';
COMMENT ON COLUMN tidemark_views.reports.site IS 'The site of the node.';

-- A report holds its values in one array, block after block. For each series of a node and each combination of blocks
-- that the node has sent, the place is worked out once; the reports of the time asked for are then read by their index.
CREATE VIEW tidemark_views.samples AS
SELECT r.at, n.id AS node_id, n.name AS node, n.site, s.id AS series_id, s.metric, s.labels, r.values[p.position] AS value
FROM nodes n
JOIN series s ON s.node_id = n.id
JOIN layout_sets ls ON ls.node_id = n.id
CROSS JOIN LATERAL (
  SELECT blocks.first + array_position(blocks.series_ids, s.id) AS position
  FROM (
    SELECT l.series_ids,
      coalesce(sum(cardinality(l.series_ids)) OVER (ORDER BY b.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::integer AS first
    FROM unnest(ls.layout_ids) WITH ORDINALITY AS b (layout_id, place) JOIN layouts l ON l.id = b.layout_id
  ) blocks
  WHERE s.id = ANY (blocks.series_ids)
  ORDER BY 1 LIMIT 1
) p
JOIN reports r ON r.node_id = n.id AND r.layout_set_id = ls.id
WHERE r.values[p.position] IS NOT NULL;
COMMENT ON VIEW tidemark_views.samples IS 'Values as they were reported, a row each. Always ask for a metric and a time: WHERE metric = ... AND at >= ...';
COMMENT ON COLUMN tidemark_views.samples.at IS 'When the report was taken.';
COMMENT ON COLUMN tidemark_views.samples.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.samples.node IS 'The name of the node.';
COMMENT ON COLUMN tidemark_views.samples.site IS 'The site of the node.';
COMMENT ON COLUMN tidemark_views.samples.series_id IS 'As in series.';
COMMENT ON COLUMN tidemark_views.samples.metric IS 'As in series.';
COMMENT ON COLUMN tidemark_views.samples.labels IS 'As in series.';
COMMENT ON COLUMN tidemark_views.samples.value IS 'What was not measured has no row.';

CREATE VIEW tidemark_views.observations AS
SELECT o.at, o.since, n.id AS node_id, n.name AS node, n.site, o.kind, o.instance, o.version, o.document
FROM observations_latest o JOIN nodes n ON n.id = o.node_id
WHERE n.state <> 'retired';
COMMENT ON VIEW tidemark_views.observations IS 'The newest of what is not a number, of nodes that are not retired.';
COMMENT ON COLUMN tidemark_views.observations.at IS 'When it was last seen so.';
COMMENT ON COLUMN tidemark_views.observations.since IS 'Since when it is so.';
COMMENT ON COLUMN tidemark_views.observations.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.observations.node IS 'The name of the node.';
COMMENT ON COLUMN tidemark_views.observations.site IS 'The site of the node.';
COMMENT ON COLUMN tidemark_views.observations.kind IS 'inventory, postgres.replication, postgres.settings, …';
COMMENT ON COLUMN tidemark_views.observations.instance IS 'What of the node it is about: a PostgreSQL server; empty for the node itself.';
COMMENT ON COLUMN tidemark_views.observations.version IS 'Of the form of the document.';
COMMENT ON COLUMN tidemark_views.observations.document IS 'As the agent sent it.';

CREATE VIEW tidemark_views.observation_history AS
SELECT o.at, n.id AS node_id, n.name AS node, n.site, o.kind, o.instance, o.version, o.document
FROM observations o JOIN nodes n ON n.id = o.node_id;
COMMENT ON VIEW tidemark_views.observation_history IS 'What is not a number, a row whenever it changed.';
COMMENT ON COLUMN tidemark_views.observation_history.at IS 'From when on it was so.';
COMMENT ON COLUMN tidemark_views.observation_history.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.observation_history.node IS 'The name of the node.';
COMMENT ON COLUMN tidemark_views.observation_history.site IS 'The site of the node.';
COMMENT ON COLUMN tidemark_views.observation_history.kind IS 'As in observations.';
COMMENT ON COLUMN tidemark_views.observation_history.instance IS 'As in observations.';
COMMENT ON COLUMN tidemark_views.observation_history.version IS 'Of the form of the document.';
COMMENT ON COLUMN tidemark_views.observation_history.document IS 'As the agent sent it.';

CREATE VIEW tidemark_views.inventory AS
SELECT o.node_id, o.node, o.site, o.at, o.since,
  o.document ->> 'hostname' AS hostname,
  o.document #>> '{os,name}' AS os,
  o.document #>> '{os,kernel}' AS kernel,
  o.document #>> '{os,architecture}' AS architecture,
  o.document #>> '{cpu,model}' AS cpu_model,
  (o.document #>> '{cpu,cores}')::integer AS cpus,
  (o.document ->> 'memoryTotalBytes')::bigint AS memory_bytes,
  o.document #>> '{hardware,vendor}' AS vendor,
  o.document #>> '{hardware,product}' AS product,
  o.document #>> '{virtualisation,kind}' AS virtualisation,
  (SELECT string_agg(a.address, ', ') FROM jsonb_to_recordset(o.document -> 'addresses') AS a (address text)) AS addresses,
  o.document ->> 'timezone' AS timezone
FROM tidemark_views.observations o WHERE o.kind = 'inventory' AND o.version = 1;
COMMENT ON VIEW tidemark_views.inventory IS 'What each machine is.';
COMMENT ON COLUMN tidemark_views.inventory.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.inventory.node IS 'The name of the node.';
COMMENT ON COLUMN tidemark_views.inventory.site IS 'The site of the node.';
COMMENT ON COLUMN tidemark_views.inventory.at IS 'When it was last seen so.';
COMMENT ON COLUMN tidemark_views.inventory.since IS 'Since when it is so.';
COMMENT ON COLUMN tidemark_views.inventory.hostname IS 'What the machine calls itself.';
COMMENT ON COLUMN tidemark_views.inventory.os IS 'Operating system, for people.';
COMMENT ON COLUMN tidemark_views.inventory.kernel IS 'Release of the kernel.';
COMMENT ON COLUMN tidemark_views.inventory.architecture IS 'As uname names it.';
COMMENT ON COLUMN tidemark_views.inventory.cpu_model IS 'Null where the system does not tell.';
COMMENT ON COLUMN tidemark_views.inventory.cpus IS 'Logical CPUs that are online.';
COMMENT ON COLUMN tidemark_views.inventory.memory_bytes IS 'Memory of the machine.';
COMMENT ON COLUMN tidemark_views.inventory.vendor IS 'Who made the machine, real or virtual.';
COMMENT ON COLUMN tidemark_views.inventory.product IS 'The vendor''s name for it.';
COMMENT ON COLUMN tidemark_views.inventory.virtualisation IS 'none, vm, container or unknown.';
COMMENT ON COLUMN tidemark_views.inventory.addresses IS 'Without loopback and link-local ones.';
COMMENT ON COLUMN tidemark_views.inventory.timezone IS 'By its IANA name.';

CREATE VIEW tidemark_views.postgresql_servers AS
SELECT o.node_id, o.node, o.site, o.instance, o.at, o.since,
  (o.document ->> 'up')::boolean AS up,
  o.document ->> 'reason' AS reason,
  o.document ->> 'role' AS role,
  o.document ->> 'version' AS version,
  o.document ->> 'systemIdentifier' AS system_identifier,
  (o.document ->> 'timeline')::bigint AS timeline,
  (o.document ->> 'startedAt')::timestamptz AS started_at,
  o.document ->> 'currentLsn' AS current_lsn,
  o.document #>> '{receiver,status}' AS receiver_status,
  o.document #>> '{receiver,senderHost}' AS sender_host,
  (o.document #>> '{receiver,senderPort}')::integer AS sender_port,
  o.document #>> '{receiver,replayLsn}' AS replay_lsn,
  o.document #>> '{receiver,pauseState}' AS pause_state,
  jsonb_array_length(o.document -> 'replicas') AS replicas,
  jsonb_array_length(o.document -> 'slots') AS slots
FROM tidemark_views.observations o WHERE o.kind = 'postgres.replication' AND o.version = 1;
COMMENT ON VIEW tidemark_views.postgresql_servers IS 'PostgreSQL servers as their agents last saw them.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.node IS 'The node whose agent watches it.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.site IS 'The site of the node.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.instance IS 'The name that the agent knows it by.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.at IS 'When it was last seen so.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.since IS 'Since when it is so, positions included.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.up IS 'Whether it answers.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.reason IS 'Why it is not up or cannot be seen whole, as a stable word.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.role IS 'primary or replica; null when that is unknown.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.version IS 'Of the server.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.system_identifier IS 'The same for a primary and all its replicas.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.timeline IS 'Rises with each promotion.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.started_at IS 'Start of the server.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.current_lsn IS 'Where a primary writes.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.receiver_status IS 'pg_stat_wal_receiver.status of a replica; null where none runs.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.sender_host IS 'Where a replica gets its WAL from.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.sender_port IS 'And the port.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.replay_lsn IS 'How far a replica has replayed.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.pause_state IS 'Whether replay is paused.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.replicas IS 'Replicas it sends to.';
COMMENT ON COLUMN tidemark_views.postgresql_servers.slots IS 'Replication slots.';

CREATE VIEW tidemark_views.postgresql_replicas AS
SELECT o.node_id, o.node, o.site, o.instance, o.at,
  r."applicationName" AS application_name, r."clientAddr" AS client_addr, r.state, r."syncState" AS sync_state, r."slotName" AS slot_name,
  r."bytesBehind"::numeric AS bytes_behind, r."sentLsn" AS sent_lsn, r."replayLsn" AS replay_lsn, r."backendStart"::timestamptz AS connected_at
FROM tidemark_views.observations o
CROSS JOIN LATERAL jsonb_to_recordset(o.document -> 'replicas') AS r (
  "applicationName" text, "clientAddr" text, state text, "syncState" text, "slotName" text, "bytesBehind" text, "sentLsn" text,
  "replayLsn" text, "backendStart" text
)
WHERE o.kind = 'postgres.replication' AND o.version = 1;
COMMENT ON VIEW tidemark_views.postgresql_replicas IS 'Replicas as the servers that send to them were last seen to have them.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.node IS 'The node of the server that sends.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.site IS 'The site of that node.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.instance IS 'The server that sends.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.at IS 'When it was last seen so.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.application_name IS 'What the replica calls itself.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.client_addr IS 'Where it connects from; null over a unix socket.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.state IS 'streaming, catchup, startup, backup or stopping.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.sync_state IS 'async, potential, sync or quorum.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.slot_name IS 'The slot it reads; null for none.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.bytes_behind IS 'WAL that was sent and is not replayed.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.sent_lsn IS 'How far WAL was sent.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.replay_lsn IS 'How far it was replayed.';
COMMENT ON COLUMN tidemark_views.postgresql_replicas.connected_at IS 'Since when it is connected.';

-- The role is the server's, not the database's: another Tidemark beside this one may have made it, and this user may not be
-- allowed to. Then an administrator makes it with the statements in docs/how-to/grafana.md.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidemark_grafana') THEN
    CREATE ROLE tidemark_grafana NOLOGIN;
  END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
  RAISE NOTICE 'the role tidemark_grafana was not made';
END
$$;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidemark_grafana') THEN
    GRANT USAGE ON SCHEMA tidemark_views TO tidemark_grafana;
    GRANT SELECT ON ALL TABLES IN SCHEMA tidemark_views TO tidemark_grafana;
    -- Views of later versions as well.
    ALTER DEFAULT PRIVILEGES IN SCHEMA tidemark_views GRANT SELECT ON TABLES TO tidemark_grafana;
  END IF;
END
$$;
