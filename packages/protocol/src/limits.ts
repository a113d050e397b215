/** Every bound that agent and collector agree on, in one place. A request beyond one is refused with a code of its own. */
export const LIMITS = {
  /** Bytes of a request as it travels (compressed or not). */
  bodyBytes: 4 * 1024 * 1024,
  /** Bytes of a request once decompressed: what a gzip bomb runs into. */
  inflatedBytes: 16 * 1024 * 1024,
  /** Bodies below this many bytes travel as they are: gzip costs more there than it saves. */
  gzipAboveBytes: 1024,
  reportsPerRequest: 500,
  layoutsPerRequest: 2_000,
  blocksPerReport: 1_000,
  seriesPerBlock: 10_000,
  /** Series a node may have at one time, over all its blocks. */
  seriesPerNode: 20_000,
  observationsPerReport: 200,
  /** Characters of one observation's document as JSON. */
  observationChars: 256 * 1024,
  metricNameChars: 200,
  labelNameChars: 100,
  labelValueChars: 1_024,
  labelsPerSeries: 16,
  helpChars: 500,
  nodeNameChars: 253,
  tagsPerNode: 32,
  /** Machines that wait to be approved at one time; more are told to come again. */
  pendingNodes: 1_000,
  /** A report is live when it was taken at most this long before it was sent; older ones are back-fill. */
  liveAgeMs: 60_000,
  /** Reports older than this, or further in the future than `futureMs`, are refused as absurd. */
  pastMs: 8 * 24 * 3_600_000,
  futureMs: 60_000,
  /** An agent's clock within this of the collector's counts as right, and its times are taken as they are. */
  clockOffsetMs: 2_000,
} as const;
