// The types of @grafana/schema as JSON has them, and what it leaves open.

import type { DataTransformerID, FieldMatcherID, ReducerID } from '@grafana/data';
import type * as raw from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';

/** Enums have values and no names in JSON. */
type Plain<T> = unknown extends T
  ? unknown
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : T extends Array<infer One>
        ? Array<Plain<One>>
        : T extends object
          ? { [Key in keyof T]: Plain<T[Key]> }
          : T;

/**
 * Options and field settings may be left out: Grafana fills in the panel's own defaults when it reads a dashboard, and
 * writes all of them only when it saves one. The types are of what is saved.
 */
type Filled<T> = T extends Array<infer One> ? Array<Filled<One>> : T extends object ? { [Key in keyof T]?: Filled<T[Key]> } : T;

/** The types take any text as a calculation. */
type Calculations<T> = T extends Array<infer One>
  ? Array<Calculations<One>>
  : T extends object
    ? { [Key in keyof T]: Key extends 'calcs' ? Array<`${ReducerID}`> : Calculations<T[Key]> }
    : T;

interface DataSource {
  type: 'prometheus' | 'loki';
  uid: string;
}

/** Grafana publishes no types of these queries: they are the data sources' own. */
interface PrometheusTarget {
  refId: string;
  datasource: DataSource & { type: 'prometheus' };
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  interval?: string;
  hide?: boolean;
}

interface LokiTarget {
  refId: string;
  datasource: DataSource & { type: 'loki' };
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  range?: boolean;
  queryType?: 'instant' | 'range';
  hide?: boolean;
}

/** Links of fields and panels have variables in them, and no type in the schema. */
interface Link {
  title: string;
  url: string;
  targetBlank?: boolean;
}

type Defaults<Custom> = Filled<Plain<Omit<raw.FieldConfig, 'custom' | 'links'>>> & { links?: Link[]; custom?: Filled<Plain<Custom>> };

/** Overrides of what a field has, each with a value of its type. */
type Property<Custom> =
  | { id: 'links'; value: Link[] }
  | { [Key in keyof Omit<raw.FieldConfig, 'custom' | 'links'>]-?: { id: Key; value: Plain<raw.FieldConfig[Key]> } }[keyof Omit<raw.FieldConfig, 'custom' | 'links'>]
  | { [Key in keyof Custom & string]-?: { id: `custom.${Key}`; value: Filled<Plain<Custom[Key]>> } }[keyof Custom & string];

type Replaced = 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations' | 'links' | 'datasource';

export type PanelOf<Kind extends string, Options, Custom> = Plain<Omit<raw.Panel, Replaced>> & {
  type: Kind;
  // Without these a panel cannot be placed, found or understood, whatever the schema says.
  id: number;
  title: string;
  gridPos: Plain<raw.GridPos>;
  datasource?: DataSource;
  options?: Calculations<Filled<Plain<Options>>>;
  fieldConfig?: {
    defaults: Defaults<Custom>;
    overrides: Array<{ matcher: { id: `${FieldMatcherID}`; options?: unknown }; properties: Array<Property<Custom>> }>;
  };
  targets?: Array<PrometheusTarget | LokiTarget>;
  transformations?: Array<{ id: `${DataTransformerID}`; options: unknown; disabled?: boolean }>;
  links?: Link[];
};

export type RowOf = Plain<Omit<raw.RowPanel, 'panels'>>;

/**
 * An annotation may have its query beside its name, as before there were targets: the data source of Prometheus moves it
 * to where it belongs.
 */
type Annotation = Plain<raw.AnnotationQuery> & { expr?: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string };

/** Those of a link that Grafana takes to be false or none where they are missing. */
type DefaultedInLinks = 'asDropdown' | 'includeVars' | 'keepTime' | 'tags' | 'targetBlank';
type DashboardLink = Omit<Plain<raw.DashboardLink>, DefaultedInLinks> & Partial<Pick<raw.DashboardLink, DefaultedInLinks>>;

export type DashboardOf = Plain<Omit<raw.Dashboard, 'panels' | 'annotations' | 'snapshot' | 'links'>> & {
  annotations?: { list?: Annotation[] };
  links?: DashboardLink[];
};
