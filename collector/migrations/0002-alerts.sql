-- Alerts: what is open and was open, everything that happened to it, and what each channel was told. The collector's local
-- journal is ahead of these tables and writes them; every row says by which entry (epoch, position) it is as it is, so that
-- an older state never replaces a newer one.

CREATE TABLE incidents (
  id                uuid PRIMARY KEY,
  rule              text NOT NULL,
  kind              text NOT NULL,
  title             text NOT NULL,
  -- No reference: what happened stays true whatever becomes of the node.
  node_id           integer NOT NULL,
  node_name         text NOT NULL,
  site              text NOT NULL,
  metric            text,
  labels            jsonb NOT NULL,
  unit              text NOT NULL,
  state             text NOT NULL CHECK (state IN ('open', 'closed')),
  level             text NOT NULL CHECK (level IN ('warning', 'critical')),
  level_max         text NOT NULL CHECK (level_max IN ('warning', 'critical')),
  since             timestamptz NOT NULL,
  opened_at         timestamptz NOT NULL,
  closed_at         timestamptz,
  close_reason      text,
  value             double precision,
  value_at_opening  double precision,
  bound             jsonb NOT NULL,
  why               text NOT NULL,
  no_data           boolean NOT NULL,
  acknowledged_at   timestamptz,
  acknowledged_by   text,
  acknowledged_note text,
  suppressed_by     text[] NOT NULL,
  annotations       jsonb NOT NULL,
  runbook           text,
  epoch             bigint NOT NULL,
  position          bigint NOT NULL,
  CHECK ((state = 'closed') = (closed_at IS NOT NULL) AND (state = 'closed') = (close_reason IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX incidents_open ON incidents (id) WHERE state = 'open';
CREATE INDEX incidents_node ON incidents (node_id, id);
CREATE INDEX incidents_rule ON incidents (rule, id);
CREATE INDEX incidents_site ON incidents (site, id);
CREATE INDEX incidents_closed ON incidents (closed_at) WHERE state = 'closed';
COMMENT ON TABLE incidents IS 'Alerts: one rule crossed on one node, from its opening to its close. Ids sort by the time of opening.';
COMMENT ON COLUMN incidents.node_id IS 'The node, as in nodes.id.';
COMMENT ON COLUMN incidents.node_name IS 'What the node was called when the alert opened.';
COMMENT ON COLUMN incidents.labels IS 'Pairs of name and value, sorted by name.';
COMMENT ON COLUMN incidents.level_max IS 'The worst it has been.';
COMMENT ON COLUMN incidents.since IS 'When the bound was first crossed, by the samples.';
COMMENT ON COLUMN incidents.value IS 'The last one judged.';
COMMENT ON COLUMN incidents.why IS 'One sentence: the value, the bound, for how long.';
COMMENT ON COLUMN incidents.no_data IS 'Open, and nothing has been measured of late.';
COMMENT ON COLUMN incidents.suppressed_by IS 'Rules whose open alert on the same node makes this one moot.';

CREATE TABLE incident_entries (
  id           uuid PRIMARY KEY,
  incident_ids uuid[] NOT NULL,
  kind         text NOT NULL,
  at           timestamptz NOT NULL,
  epoch        bigint NOT NULL,
  position     bigint NOT NULL,
  document     jsonb NOT NULL
);
CREATE INDEX incident_entries_incidents ON incident_entries USING gin (incident_ids);
CREATE INDEX incident_entries_at ON incident_entries (at);
COMMENT ON TABLE incident_entries IS 'The journal: everything that happened to alerts, silences and messages, once each. Never changed.';
COMMENT ON COLUMN incident_entries.incident_ids IS 'The alerts it is about: none for a silence, several for a message that speaks of several.';
COMMENT ON COLUMN incident_entries.epoch IS 'Which run of a collector decided it; (epoch, position) is the order.';

CREATE TABLE silences (
  id         uuid PRIMARY KEY,
  matcher    jsonb NOT NULL,
  reason     text NOT NULL,
  author     text NOT NULL,
  created_at timestamptz NOT NULL,
  ends_at    timestamptz NOT NULL,
  ended_at   timestamptz,
  ended_by   text,
  epoch      bigint NOT NULL,
  position   bigint NOT NULL
);
CREATE INDEX silences_ends_at ON silences (ends_at);
COMMENT ON TABLE silences IS 'Who silenced what, why and for how long.';
COMMENT ON COLUMN silences.ended_at IS 'When somebody ended it before its time.';

CREATE TABLE told (
  incident_id uuid NOT NULL REFERENCES incidents ON DELETE CASCADE,
  channel     text NOT NULL,
  status      text NOT NULL CHECK (status IN ('firing', 'resolved')),
  level       text NOT NULL CHECK (level IN ('warning', 'critical')),
  delivery_id uuid NOT NULL,
  thread      text NOT NULL,
  at          timestamptz NOT NULL,
  confirmed   boolean NOT NULL,
  PRIMARY KEY (incident_id, channel)
) WITH (fillfactor = 80);
COMMENT ON TABLE told IS 'What each channel was last told of each alert.';
COMMENT ON COLUMN told.confirmed IS 'False: an attempt was made, and it is not known to have arrived.';

CREATE TABLE deliveries (
  id           uuid PRIMARY KEY,
  channel      text NOT NULL,
  thread       text NOT NULL,
  items        jsonb NOT NULL,
  state        text NOT NULL CHECK (state IN ('under_way', 'waiting', 'delivered', 'refused', 'gone', 'given_up')),
  attempt      integer NOT NULL,
  attempted_at timestamptz NOT NULL,
  retry_at     timestamptz,
  answered_at  timestamptz,
  answer       text,
  epoch        bigint NOT NULL,
  position     bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX deliveries_unfinished ON deliveries (id) WHERE state IN ('under_way', 'waiting');
CREATE INDEX deliveries_attempted_at ON deliveries (attempted_at);
COMMENT ON TABLE deliveries IS 'Messages to channels: under way (no answer known), waiting for another attempt, or how they ended.';
COMMENT ON COLUMN deliveries.attempt IS 'How many were made.';
COMMENT ON COLUMN deliveries.answer IS 'What the other side answered last.';

CREATE TABLE gone_channels (
  channel       text PRIMARY KEY,
  at            timestamptz NOT NULL,
  answer        text NOT NULL,
  configuration text,
  epoch         bigint NOT NULL,
  position      bigint NOT NULL
);
COMMENT ON TABLE gone_channels IS 'Channels that asked never to be sent anything again, and have taken nothing since.';
COMMENT ON COLUMN gone_channels.configuration IS 'A digest of the options it had then: with others it is tried again.';

CREATE TABLE evaluators (
  name     text PRIMARY KEY,
  owner    uuid NOT NULL,
  epoch    bigint NOT NULL,
  taken_at timestamptz NOT NULL,
  position bigint NOT NULL,
  state    text,
  saved_at timestamptz
);
COMMENT ON TABLE evaluators IS 'Who judges: the collector that took the row last. One with an older epoch writes nothing any more.';
COMMENT ON COLUMN evaluators.position IS 'How far the journal has been written here.';
COMMENT ON COLUMN evaluators.state IS 'Timers and histories of the evaluation, saved now and then.';
