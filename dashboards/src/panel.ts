/**
 * The house style: few kinds of panels, one way to draw each. A colour means a level (green, orange, red at the
 * shipped thresholds) or tells lines apart, never both; every panel says what it shows when there is nothing.
 */
import { PanelBuilder as BarGauge } from '@grafana/grafana-foundation-sdk/bargauge';
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import {
  AxisPlacement,
  BarGaugeDisplayMode,
  BarGaugeValueMode,
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  GraphGradientMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  LineInterpolation,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TableCellHeight,
  TableSortByFieldStateBuilder,
  TooltipDisplayMode,
  VisibilityMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
  type DataSourceRef,
} from '@grafana/grafana-foundation-sdk/common';
import {
  FieldColorBuilder,
  FieldColorModeId,
  MappingType,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  type DataTransformerConfig,
  type DynamicConfigValue,
  type Panel,
  type ValueMapping,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as StateTimeline } from '@grafana/grafana-foundation-sdk/statetimeline';
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries';
import { PROMETHEUS } from './query.ts';

/** Where the shipped rules warn and where they are critical. */
export interface Bounds {
  readonly warning: number;
  readonly critical?: number;
}
export const CPU: Bounds = { warning: 0.7, critical: 0.9 };
export const MEMORY: Bounds = { warning: 0.75, critical: 0.9 };
export const DISK: Bounds = { warning: 0.7, critical: 0.85 };
export const BYTES_BEHIND: Bounds = { warning: 104_857_600 };
export const RESPONSE_SECONDS: Bounds = { warning: 2, critical: 5 };
export const ERRORS: Bounds = { warning: 0.01, critical: 0.05 };
/** For counts of what should not be there. */
export const NONE: Bounds = { warning: 1 };
export const NONE_AT_ALL: Bounds = { warning: 1, critical: 1 };

const GREEN = 'green';
const ORANGE = 'orange';
const RED = 'red';

export interface PanelSettings {
  title: string;
  /** What it shows and what to make of it. */
  description: string;
  queries: readonly Builder<Dataquery>[];
  /** Grid columns of 24. */
  width: number;
  height?: number;
  unit?: string;
  decimals?: number;
  min?: number;
  max?: number;
  bounds?: Bounds;
  datasource?: DataSourceRef;
  /** Shown in place of nothing. */
  noValue?: string;
  overrides?: Readonly<Record<string, readonly DynamicConfigValue[]>>;
  /** Where a click on a value leads. */
  link?: { title: string; url: string };
}

export type AnyPanel = Builder<Panel>;

/** What all kinds of panels have in common. */
interface Shared {
  title(title: string): unknown;
  description(text: string): unknown;
  datasource(source: DataSourceRef): unknown;
  targets(queries: Builder<Dataquery>[]): unknown;
  span(columns: number): unknown;
  height(units: number): unknown;
  unit(unit: string): unknown;
  decimals(places: number): unknown;
  min(value: number): unknown;
  max(value: number): unknown;
  noValue(text: string): unknown;
  thresholds(config: Builder<ReturnType<ThresholdsConfigBuilder['build']>>): unknown;
  overrideByName(name: string, properties: DynamicConfigValue[]): unknown;
  withOverride(override: { matcher: { id: string; options: unknown }; properties: DynamicConfigValue[] }): unknown;
}

function applyShared(panel: Shared, settings: PanelSettings): void {
  panel.title(settings.title);
  panel.description(settings.description);
  const datasource = settings.datasource ?? PROMETHEUS;
  panel.datasource(datasource);
  panel.targets(settings.queries.map((query, position) => asked(query, position, datasource)));
  panel.span(settings.width);
  panel.height(settings.height ?? 8);
  panel.thresholds(thresholds(settings.bounds));
  if (settings.unit !== undefined) panel.unit(settings.unit);
  if (settings.decimals !== undefined) panel.decimals(settings.decimals);
  if (settings.min !== undefined) panel.min(settings.min);
  if (settings.max !== undefined) panel.max(settings.max);
  if (settings.noValue !== undefined) panel.noValue(settings.noValue);
  for (const [name, properties] of Object.entries(settings.overrides ?? {})) panel.overrideByName(name, [...properties]);
  // By a matcher that fits every field: a default of this kind is kept by Grafana only below the panel's options.
  if (settings.link !== undefined) {
    panel.withOverride({ matcher: { id: 'byRegexp', options: '/.*/' }, properties: [{ id: 'links', value: [settings.link] }] });
  }
}

/** Queries are told apart by letters, as Grafana does itself. */
function asked(query: Builder<Dataquery>, position: number, datasource: DataSourceRef): Builder<Dataquery> {
  const refId = String.fromCodePoint('A'.codePointAt(0)! + position);
  return { build: () => Object.assign(query.build(), { refId, datasource }) };
}

export function thresholdSteps(bounds: Bounds | undefined): { value: number | null; color: string }[] {
  const steps: { value: number | null; color: string }[] = [{ value: null, color: GREEN }];
  if (bounds === undefined) return steps;
  if (bounds.warning !== bounds.critical) steps.push({ value: bounds.warning, color: ORANGE });
  if (bounds.critical !== undefined) steps.push({ value: bounds.critical, color: RED });
  return steps;
}

function thresholds(bounds: Bounds | undefined): ThresholdsConfigBuilder {
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(thresholdSteps(bounds));
}

export interface ChartSettings extends PanelSettings {
  /** One area on the other. */
  stacked?: boolean;
  /** The legend as a table with these figures; otherwise a list. */
  figures?: readonly ('lastNotNull' | 'mean' | 'max' | 'min')[];
  fillOpacity?: number;
  centredOnZero?: boolean;
}

/** Lines over time. Bounds are drawn as dashed lines. */
export function chart(settings: ChartSettings): AnyPanel {
  const { stacked = false, figures = [], bounds } = settings;
  const panel = new TimeSeries()
    .lineWidth(1)
    .fillOpacity(settings.fillOpacity ?? (stacked ? 40 : 8))
    .gradientMode(stacked ? GraphGradientMode.None : GraphGradientMode.Opacity)
    .lineInterpolation(LineInterpolation.Linear)
    .showPoints(VisibilityMode.Never)
    .spanNulls(false)
    .axisCenteredZero(settings.centredOnZero ?? false)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.PaletteClassicByName))
    .thresholdsStyle(
      new GraphThresholdsStyleConfigBuilder().mode(bounds === undefined ? GraphThresholdsStyleMode.Off : GraphThresholdsStyleMode.Dashed),
    )
    .stacking(new StackingConfigBuilder().mode(stacked ? StackingMode.Normal : StackingMode.None).group('A'))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(figures.length > 0 ? LegendDisplayMode.Table : LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .calcs([...figures]),
    );
  applyShared(panel, settings);
  return panel;
}

export interface StatSettings extends PanelSettings {
  mappings?: readonly ValueMapping[];
  /** A small line of its past beneath the figure. */
  spark?: boolean;
  plain?: boolean;
}

/** One figure, coloured by its level. */
export function stat(settings: StatSettings): AnyPanel {
  const panel = new Stat()
    .colorMode(settings.plain === true ? BigValueColorMode.None : BigValueColorMode.Value)
    .graphMode(settings.spark === true ? BigValueGraphMode.Area : BigValueGraphMode.None)
    .textMode(BigValueTextMode.Auto)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']).values(false))
    .mappings([...(settings.mappings ?? [])]);
  applyShared(panel, { height: 4, ...settings });
  return panel;
}

/** Bars side by side, the largest first. */
export function bars(settings: PanelSettings): AnyPanel {
  const panel = new BarGauge()
    .displayMode(BarGaugeDisplayMode.Basic)
    .valueMode(BarGaugeValueMode.Color)
    .orientation(VizOrientation.Horizontal)
    .showUnfilled(true)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']).values(false));
  applyShared(panel, settings);
  return panel;
}

export interface TimelineSettings extends PanelSettings {
  states: Readonly<Record<string, { text: string; color: string }>>;
}

/** States over time, a lane a series. */
export function timeline({ states, ...settings }: TimelineSettings): AnyPanel {
  const panel = new StateTimeline()
    .mergeValues(true)
    .showValue(VisibilityMode.Never)
    .rowHeight(0.8)
    .perPage(20)
    .fillOpacity(70)
    .lineWidth(0)
    .axisPlacement(AxisPlacement.Auto)
    .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds))
    .mappings([valueMapping(states)])
    .legend(new VizLegendOptionsBuilder().showLegend(true).displayMode(LegendDisplayMode.List).placement(LegendPlacement.Bottom).calcs([]))
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Single).sort(SortOrder.None));
  applyShared(panel, settings);
  return panel;
}

/** Words and colours for values. */
export function valueMapping(states: Readonly<Record<string, { text: string; color: string }>>): ValueMapping {
  return {
    type: MappingType.ValueToText,
    options: Object.fromEntries(Object.entries(states).map(([value, result], index) => [value, { ...result, index }])),
  };
}

/** A table's column: what it is called in the answer, what people see, and how. */
export interface Column {
  field: string;
  title: string;
  unit?: string;
  decimals?: number;
  bounds?: Bounds;
  /** A bar from 0 to 1 within the cell. */
  gauge?: boolean;
  states?: Readonly<Record<string, { text: string; color: string }>>;
  link?: { title: string; url: string };
  width?: number;
}

export interface TableSettings extends PanelSettings {
  columns: readonly Column[];
  sortBy?: { title: string; descending: boolean };
}

/** A table of what several queries say about the same things, a row each; columns that are not named are left out. */
export function table({ columns, sortBy, ...settings }: TableSettings): AnyPanel {
  const panel = new Table()
    .cellHeight(TableCellHeight.Sm)
    .showHeader(true)
    .filterable(true)
    .transformations(tableTransformations(columns, settings.queries.length));
  applyShared(panel, settings);
  for (const column of columns) {
    const properties = columnProperties(column);
    if (properties.length > 0) panel.overrideByName(column.title, properties);
  }
  if (sortBy !== undefined) panel.sortBy([new TableSortByFieldStateBuilder().displayName(sortBy.title).desc(sortBy.descending)]);
  return panel;
}

function tableTransformations(columns: readonly Column[], queries: number): DataTransformerConfig[] {
  const fields = columns.map(({ field }) => field);
  return [
    ...(queries > 1 ? [{ id: 'merge', options: {} }] : []),
    { id: 'filterFieldsByName', options: { include: { names: fields } } },
    {
      id: 'organize',
      options: {
        excludeByName: {},
        indexByName: Object.fromEntries(fields.map((field, index) => [field, index])),
        renameByName: Object.fromEntries(columns.map(({ field, title }) => [field, title])),
      },
    },
  ];
}

function columnProperties({ unit, decimals, bounds, gauge, states, link, width }: Column): DynamicConfigValue[] {
  const properties: DynamicConfigValue[] = [];
  const add = (id: string, value: unknown): void => void properties.push({ id, value });
  if (unit !== undefined) add('unit', unit);
  if (decimals !== undefined) add('decimals', decimals);
  if (bounds !== undefined) add('thresholds', { mode: ThresholdsMode.Absolute, steps: thresholdSteps(bounds) });
  if (states !== undefined) add('mappings', [valueMapping(states)]);
  if (gauge === true) {
    add('min', 0);
    add('max', 1);
    add('custom.cellOptions', { type: 'gauge', mode: 'basic', valueDisplayMode: 'text' });
  } else if (bounds !== undefined || states !== undefined) add('custom.cellOptions', { type: 'color-text' });
  if (bounds !== undefined || gauge === true) add('color', { mode: FieldColorModeId.Thresholds });
  if (link !== undefined) add('links', [link]);
  if (width !== undefined) add('custom.width', width);
  return properties;
}

/** A colour that changes downwards: little is worse than much. */
export const leastBounds = (warning: number, critical: number): readonly DynamicConfigValue[] => [
  {
    id: 'thresholds',
    value: {
      mode: ThresholdsMode.Absolute,
      steps: [
        { value: null, color: RED },
        { value: critical, color: ORANGE },
        { value: warning, color: GREEN },
      ],
    },
  },
];

/** One colour for a line, whatever else is on the panel. */
export const colour = (color: string): readonly DynamicConfigValue[] => [{ id: 'color', value: { mode: 'fixed', fixedColor: color } }];

/** A bound that moves (a limit, a number of CPUs): dashed, with no area beneath, never stacked. */
export const asLimit = (color = 'text'): readonly DynamicConfigValue[] => [
  ...colour(color),
  { id: 'custom.lineStyle', value: { fill: 'dash', dash: [8, 6] } },
  { id: 'custom.fillOpacity', value: 0 },
  { id: 'custom.stacking', value: { mode: 'none', group: 'A' } },
];

export const UP_STATES = { '0': { text: 'Silent', color: RED }, '1': { text: 'Reporting', color: GREEN } };
export const ENDPOINT_STATES = { '0': { text: 'Down', color: RED }, '1': { text: 'Answers', color: GREEN } };
export const SERVER_STATES = { '0': { text: 'Down', color: RED }, '1': { text: 'Up', color: GREEN } };
