-- How machines become nodes: tokens that let them in, who asks to be let in, and secrets that are replaced with an overlap.

ALTER TABLE nodes ADD COLUMN machine text CHECK (machine ~ '^[0-9a-f]{64}$');
COMMENT ON COLUMN nodes.machine IS 'Hash of the machine''s own id, as its agent gave it when it was let in; null of nodes that were added by hand and never enrolled.';

ALTER TABLE node_tokens
  ADD COLUMN expires_at timestamptz,
  ADD COLUMN ended_as   text CHECK (ended_as IN ('denied', 'replaced'));
COMMENT ON COLUMN node_tokens.expires_at IS 'Set when another token took over: this one ends then, or when the other one is first used.';
COMMENT ON COLUMN node_tokens.ended_as IS 'What its holder is told: it was not approved, or another machine was approved in its place. Null: plainly revoked.';

CREATE TABLE enrollments (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  token_hash bytea NOT NULL UNIQUE,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  uses       integer NOT NULL CHECK (uses > 0),
  used       integer NOT NULL DEFAULT 0 CHECK (used BETWEEN 0 AND uses),
  site       text NOT NULL DEFAULT '',
  tags       jsonb NOT NULL DEFAULT '{}',
  revoked_at timestamptz
);
COMMENT ON TABLE enrollments IS 'Tokens that let machines in; of each the SHA-256 alone.';

-- The primary key keeps it to one claim a node.
CREATE TABLE node_claims (
  node_id       integer PRIMARY KEY REFERENCES nodes,
  token_hash    bytea NOT NULL UNIQUE,
  reason        text NOT NULL CHECK (reason IN ('new', 'same-machine', 'clone-or-replacement')),
  machine       text CHECK (machine ~ '^[0-9a-f]{64}$'),
  address       text NOT NULL,
  platform      text,
  agent_version text NOT NULL,
  asked_at      timestamptz NOT NULL,
  site          text NOT NULL DEFAULT '',
  tags          jsonb NOT NULL DEFAULT '{}',
  enrollment_id integer REFERENCES enrollments ON DELETE SET NULL
);
COMMENT ON TABLE node_claims IS 'Machines that ask to be a node and wait for a person. Approved, the hash becomes one of node_tokens.';
COMMENT ON COLUMN node_claims.enrollment_id IS 'The token that it came with: the use is counted when it is approved.';
COMMENT ON COLUMN node_claims.asked_at IS 'When it was last heard of: one that is silent for a week is dropped.';
