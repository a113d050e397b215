-- The fleet, its reports and what they mean. Partitions of the two tables by day are made ahead and
-- dropped by the collector (src/db/partitions.ts); nothing is ever deleted row by row.

CREATE TABLE nodes (
  id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name             text NOT NULL CHECK (name <> '' AND length(name) <= 253),
  state            text NOT NULL DEFAULT 'approved' CHECK (state IN ('pending', 'approved', 'revoked', 'retired')),
  site             text NOT NULL DEFAULT '',
  tags             jsonb NOT NULL DEFAULT '{}',
  created_at       timestamptz NOT NULL,
  state_changed_at timestamptz NOT NULL,
  agent_version    text,
  interval_seconds double precision
);
-- A retired node gives its name free.
CREATE UNIQUE INDEX nodes_name ON nodes (name) WHERE state <> 'retired';
COMMENT ON TABLE nodes IS 'Machines with an agent. An id is permanent, a name can change.';

CREATE TABLE node_tokens (
  token_hash bytea PRIMARY KEY,
  node_id    integer NOT NULL REFERENCES nodes,
  created_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX node_tokens_node ON node_tokens (node_id);
COMMENT ON COLUMN node_tokens.token_hash IS 'SHA-256 of the token; the token itself is shown once and kept nowhere.';

CREATE TABLE api_tokens (
  name       text PRIMARY KEY CHECK (name <> '' AND length(name) <= 100),
  token_hash bytea NOT NULL UNIQUE,
  role       text NOT NULL CHECK (role IN ('read', 'admin')),
  created_at timestamptz NOT NULL
);

-- One run of an agent. `sequences` is the ledger by which a report sent twice is stored once.
CREATE TABLE boots (
  id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id          integer NOT NULL REFERENCES nodes,
  boot_id          uuid NOT NULL,
  first_report_at  timestamptz NOT NULL,
  last_report_at   timestamptz NOT NULL,
  sequences        int4multirange NOT NULL DEFAULT '{}',
  UNIQUE (node_id, boot_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE boots IS 'Runs of agents, with the sequence numbers of their stored reports.';

CREATE TABLE series (
  id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id   integer NOT NULL REFERENCES nodes,
  -- SHA-256 of name and sorted labels, its first 16 bytes: what is compared when a block is registered.
  identity  uuid NOT NULL,
  metric    text NOT NULL,
  labels    jsonb NOT NULL,
  unit      text NOT NULL,
  type      text NOT NULL,
  help      text NOT NULL
);
CREATE UNIQUE INDEX series_identity ON series (node_id, identity);
CREATE INDEX series_metric ON series (metric, node_id);
COMMENT ON TABLE series IS 'A permanent id for each name and label set of a node.';

CREATE TABLE layouts (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id    integer NOT NULL REFERENCES nodes,
  hash       text NOT NULL,
  probe      text NOT NULL,
  instance   text NOT NULL,
  series_ids integer[] NOT NULL,
  UNIQUE (node_id, hash)
);
COMMENT ON COLUMN layouts.series_ids IS 'The series at each position of the block.';

-- The blocks of one report, in order: `reports.values` is their values one after the other.
CREATE TABLE layout_sets (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id    integer NOT NULL REFERENCES nodes,
  layout_ids integer[] NOT NULL,
  UNIQUE (node_id, layout_ids)
);

CREATE TABLE reports (
  node_id       integer NOT NULL,
  boot          integer NOT NULL,
  at            timestamptz NOT NULL,
  sequence      integer NOT NULL,
  layout_set_id integer NOT NULL,
  values        double precision[] NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX reports_node_at ON reports (node_id, at);
COMMENT ON TABLE reports IS 'One row a report. NULL in values: not measured.';

-- What is not a number, stored when it changed.
CREATE TABLE observations (
  node_id  integer NOT NULL,
  at       timestamptz NOT NULL,
  kind     text NOT NULL,
  instance text NOT NULL,
  version  integer NOT NULL,
  document jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX observations_node_kind_at ON observations (node_id, kind, at);

-- The newest of each kind, so that what never changes outlives the history's retention.
CREATE TABLE observations_latest (
  node_id  integer NOT NULL REFERENCES nodes,
  kind     text NOT NULL,
  instance text NOT NULL,
  version  integer NOT NULL,
  since    timestamptz NOT NULL,
  at       timestamptz NOT NULL,
  document jsonb NOT NULL,
  PRIMARY KEY (node_id, kind, instance)
) WITH (fillfactor = 70);
COMMENT ON COLUMN observations_latest.since IS 'When the document became what it is.';
