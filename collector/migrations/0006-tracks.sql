-- Where PostgreSQL servers stood, as their agents' reports carried it (the observation "postgres.track"): what the LSN
-- history is rebuilt from after a start. Needed for a day, so it is kept apart from observations, in days of its own.

CREATE TABLE tracks (
  node_id  integer NOT NULL,
  at       timestamptz NOT NULL,
  instance text NOT NULL,
  document jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX tracks_at ON tracks (at);
COMMENT ON TABLE tracks IS 'Positions of PostgreSQL servers over time, a report a row; kept for two days.';
