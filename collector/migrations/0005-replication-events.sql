-- What happened to PostgreSQL replication, and what the collector has to remember of a cluster between two looks, so that a
-- restart neither repeats an event nor forgets who followed whom.

CREATE TABLE replication_events (
  id                uuid PRIMARY KEY,
  system_identifier text NOT NULL,
  key               text NOT NULL,
  kind              text NOT NULL,
  at                timestamptz NOT NULL,
  instance_id       text,
  instance          text,
  severity          text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
  text              text NOT NULL,
  details           jsonb NOT NULL,
  UNIQUE (system_identifier, key)
);
CREATE INDEX replication_events_cluster ON replication_events (system_identifier, at, id);
CREATE INDEX replication_events_at ON replication_events (at, id);
COMMENT ON TABLE replication_events IS 'What happened to PostgreSQL replication, each thing once.';
COMMENT ON COLUMN replication_events.key IS 'Of the happening: what is learned of it later replaces its kind, text and details.';
COMMENT ON COLUMN replication_events.at IS 'When it happened, by the evidence.';
COMMENT ON COLUMN replication_events.instance_id IS 'The instance it is about; null where it is about the cluster.';
COMMENT ON COLUMN replication_events.instance IS 'What that was called then.';
COMMENT ON COLUMN replication_events.details IS 'Figures of its kind, a flat object.';

CREATE TABLE replication_memory (
  system_identifier text PRIMARY KEY,
  topology          jsonb NOT NULL,
  changes           jsonb,
  counts            jsonb NOT NULL,
  saved_at          timestamptz NOT NULL
) WITH (fillfactor = 60);
COMMENT ON TABLE replication_memory IS 'Of each cluster: what the last look left to remember. Written together with the events of that look.';
COMMENT ON COLUMN replication_memory.counts IS 'Events of each kind ever recorded, an object; retention does not lower it.';
COMMENT ON COLUMN replication_memory.saved_at IS 'When it was written; a cluster nobody reports on for a year is forgotten.';
