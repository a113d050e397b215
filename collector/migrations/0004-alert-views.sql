-- Alerts, for reading, beside the views of 0003.

CREATE VIEW tidemark_views.alerts AS
SELECT i.id AS alert_id, i.since, i.opened_at, i.closed_at, i.node_id, i.node_name AS node, i.site, i.rule, i.title, i.state, i.level, i.level_max,
  i.close_reason, i.metric, (SELECT coalesce(jsonb_object_agg(p ->> 0, p ->> 1), '{}') FROM jsonb_array_elements(i.labels) p) AS labels,
  i.value, i.value_at_opening, i.unit, i.why, i.no_data, i.acknowledged_at, i.acknowledged_by, i.runbook
FROM incidents i;
COMMENT ON VIEW tidemark_views.alerts IS 'Alerts that are open or were: one rule crossed on one node, from its opening to its close.';
COMMENT ON COLUMN tidemark_views.alerts.alert_id IS 'As in messages and in the console''s address.';
COMMENT ON COLUMN tidemark_views.alerts.since IS 'When the bound was first crossed, by the samples.';
COMMENT ON COLUMN tidemark_views.alerts.opened_at IS 'When it had been crossed for long enough.';
COMMENT ON COLUMN tidemark_views.alerts.closed_at IS 'Null while it is open.';
COMMENT ON COLUMN tidemark_views.alerts.node_id IS 'As in nodes.';
COMMENT ON COLUMN tidemark_views.alerts.node IS 'What the node was called when it opened.';
COMMENT ON COLUMN tidemark_views.alerts.site IS 'The site of the node then.';
COMMENT ON COLUMN tidemark_views.alerts.rule IS 'The name of the rule.';
COMMENT ON COLUMN tidemark_views.alerts.title IS 'The rule, for people.';
COMMENT ON COLUMN tidemark_views.alerts.state IS 'open or closed.';
COMMENT ON COLUMN tidemark_views.alerts.level IS 'warning or critical.';
COMMENT ON COLUMN tidemark_views.alerts.level_max IS 'The worst it has been.';
COMMENT ON COLUMN tidemark_views.alerts.close_reason IS 'recovered, gone, retired, rule_removed, rule_changed or closed_by_hand; null while it is open.';
COMMENT ON COLUMN tidemark_views.alerts.metric IS 'What was judged; null for rules about the node itself and about observations.';
COMMENT ON COLUMN tidemark_views.alerts.labels IS 'Of the series that was judged, an object.';
COMMENT ON COLUMN tidemark_views.alerts.value IS 'The last one judged.';
COMMENT ON COLUMN tidemark_views.alerts.value_at_opening IS 'The one with which it opened.';
COMMENT ON COLUMN tidemark_views.alerts.unit IS 'Of the values: ratio, bytes, seconds or empty.';
COMMENT ON COLUMN tidemark_views.alerts.why IS 'One sentence: the value, the bound, for how long.';
COMMENT ON COLUMN tidemark_views.alerts.no_data IS 'Open, and nothing has been measured of late.';
COMMENT ON COLUMN tidemark_views.alerts.acknowledged_at IS 'Null while nobody has.';
COMMENT ON COLUMN tidemark_views.alerts.acknowledged_by IS 'Who.';
COMMENT ON COLUMN tidemark_views.alerts.runbook IS 'What to do: a link, or a page of the collector.';

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidemark_grafana') THEN
    GRANT SELECT ON tidemark_views.alerts TO tidemark_grafana;
  END IF;
END
$$;
