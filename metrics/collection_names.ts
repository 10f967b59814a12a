/** The names that a collection of metrics gives, as types. */

import type { Metric } from "./metric.ts";

/** Metrics under their own names, or under new ones. */
export type Metrics = readonly Metric[] | Readonly<Record<string, Metric>>;

/** The names of the values of a metric. */
export type MetricKey<M> = M extends Metric<infer K> ? K : never;

/** The names of the values of a metric that is called `G` in a collection. */
export type RenamedKey<M, G extends string, K = MetricKey<M>> = string extends K ? string
  : M extends { readonly name: infer N extends string } ? string extends N ? string
    : K extends N ? G
    : K extends `${N}/${infer Rest}` ? `${G}/${Rest}`
    : `${G}/${Extract<K, string>}`
  : never;

/** The names of the values of metrics in a collection, without its prefix. */
export type MemberKey<M extends Metrics> = M extends readonly (infer Each)[] ? MetricKey<Each>
  : { [G in Extract<keyof M, string>]: RenamedKey<M[G], G> }[Extract<keyof M, string>];

/** The names of the values of a collection; the prefix is never where there is none. */
export type CollectionKey<M extends Metrics, P extends string = never> = [P] extends [never]
  ? MemberKey<M>
  : `${P}/${MemberKey<M>}`;

/** The names of what metrics read in step outputs. */
export type ReadsOf<M extends Metrics> = (
  M extends readonly (infer Each)[] ? Each : M[keyof M]
) extends infer Each ? Each extends { readonly reads?: infer F } ? Extract<F, string> : never
  : never;
