/** The role that the exporter logs in with: pg_monitor and nothing else, as its documentation says. */
export const EXPORTER_ROLE = 'exporter';
