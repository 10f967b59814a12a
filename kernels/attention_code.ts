/**
 * The WGSL of attention. A thread has some rows of its own (queries, or keys where their gradients are summed) and goes
 * through all rows of the other side, a few at a time: their scores, their weights, then what the weights add.
 */

import type {
  AttentionKeyParams,
  AttentionOutputParams,
  AttentionParams,
  AttentionQueryParams,
  MaskOperand,
} from "./attention.ts";
import {
  isVector,
  LOOPED,
  type Plan,
  planOf,
  quadsOf,
  range,
  Rows,
  SOFTWARE_SUMS,
  SUMS,
} from "./attention_rows.ts";
import { threefryFunction } from "./threefry.ts";
import { type DeviceTraits, type ScalarType, sizeOf, type WgslProgram } from "./types.ts";
import { address, type Binding, coordinates, grid, shader, u32 } from "./wgsl.ts";

/** The scale; then for dropout the key, the threshold (of 2^24) of dropped weights, and the factor of the others. */
export function attentionScalars(dropout: boolean): readonly ScalarType[] {
  return dropout ? ["f32", "u32", "u32", "u32", "f32"] : ["f32"];
}

/** All pairs of own and other rows. */
function eachPair(plan: Plan, text: (r: number, t: number) => string): string {
  return range(plan.own).flatMap((r) => range(plan.others).map((t) => text(r, t))).join("\n");
}

/** One side of the scores: the matrix, its number of rows, and how its indices are called. */
interface Side {
  readonly matrix: Rows;
  readonly size: number;
  readonly index: "i" | "j";
}

/** What the kernels have in common. */
class Attention {
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;

  constructor(readonly p: AttentionParams, readonly plan: Plan, readonly byKey: boolean) {
    this.q = new Rows("q", p.q, p.depth);
    this.k = new Rows("k", p.k, p.depth);
    this.v = new Rows("v", p.v, p.width);
  }

  get own(): Side {
    return this.byKey
      ? { matrix: this.k, size: this.p.keys, index: "j" }
      : { matrix: this.q, size: this.p.queries, index: "i" };
  }

  get other(): Side {
    return this.byKey
      ? { matrix: this.q, size: this.p.queries, index: "i" }
      : { matrix: this.k, size: this.p.keys, index: "j" };
  }

  /** The text of a whole program around the loop. */
  program(
    before: string,
    loop: string,
    after: string,
    operands: { readonly inputs: readonly Rows[]; readonly rows?: boolean },
    outputs: readonly Binding[],
    heads: readonly Rows[],
    traits: DeviceTraits,
  ): WgslProgram {
    const { p, plan, own, other } = this;
    const { threads, others, chunks, quads } = plan;
    const ofGroup = threads * plan.own;
    const across = Math.ceil(own.size / ofGroup);
    const total = across * chunks * sizeOf(p.batch);
    const groups = grid(total, traits, 1);
    const end = this.p.causal && !this.byKey
      ? `min(row0 + ${ofGroup}u, ${other.size}u)`
      : `${other.size}u`;
    const body = `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let group = wg.y * ${groups[0]}u + wg.x;
  if (group >= ${total}u) { return; }
  let row0 = group % ${across}u * ${ofGroup}u;
  let chunk = group / ${across}u % ${chunks}u;
  let first = chunk * ${quads}u;
  let item = group / ${across * chunks}u;
${coordinates("item", p.batch, "c")}
${[this.q, this.k, this.v, ...heads].map((m) => m.head()).join("\n")}
${p.mask ? `  let maskBase = ${address("c", p.mask.batchStrides, p.mask.offset)};` : ""}
${this.#ownRows()}
${before}
  let end = ${end};
  for (var at = ${p.causal && this.byKey ? "row0" : "0u"}; at < end; at += ${others}u) {
${this.#otherRows()}
${loop}
  }
${after}
}`;
    const rows: Binding = { name: "rows", dtype: "f32" };
    const inputs: Binding[] = [
      ...[this.q, this.k, this.v].map((m) => m.binding()),
      ...(p.mask ? [{ name: "mask", dtype: p.mask.dtype }] : []),
      ...operands.inputs.map((m) => m.binding()),
      ...(operands.rows ? [rows] : []),
    ];
    const functions = p.dropout
      ? `${threefryFunction()}
fn keep(at: u32) -> f32 {
  return select(u.s4, 0.0, (threefry(u.s1, u.s2, at, 0u).x >> 8u) < u.s3);
}`
      : "";
    const text = `${functions}\n${body}`;
    return { code: shader(inputs, outputs, attentionScalars(p.dropout), text), groups };
  }

  /** The own rows: their numbers, and their vectors where those are few. */
  #ownRows(): string {
    const { own: { matrix, size, index }, plan } = this;
    const lines = range(plan.own).flatMap((r) => [
      `  let ${index}${r} = row0 + lane * ${plan.own}u + ${r}u;`,
      `  let ${index}c${r} = min(${index}${r}, ${size - 1}u);`,
      `  ${matrix.row(`${matrix.name}r${r}`, `${index}c${r}`)}`,
    ]);
    return [...lines, this.held(matrix)].join("\n");
  }

  /** Statements that load the own rows of a matrix before the loop, where they are few. */
  held(matrix: Rows): string {
    if (!this.#isHeld(matrix)) return "";
    return range(this.plan.own).flatMap((r) =>
      range(quadsOf(matrix.columns)).map((d) =>
        `  let ${matrix.name}o${r}_${d} = ${matrix.load(`${matrix.name}r${r}`, d)};`
      )
    ).join("\n");
  }

  #isHeld(matrix: Rows): boolean {
    return quadsOf(matrix.columns) <= (this.plan.loops ? SOFTWARE_SUMS : SUMS);
  }

  /** The other rows of a turn. */
  #otherRows(): string {
    const { other: { matrix, size, index }, plan: { others } } = this;
    return range(others).flatMap((t) => [
      `    let ${index}${t} = at + ${t}u;`,
      `    let ${index}c${t} = ${
        size % others === 0 && size > 0 ? `${index}${t}` : `min(${index}${t}, ${size - 1}u)`
      };`,
      `    ${matrix.row(`${matrix.name}r${t}`, `${index}c${t}`)}`,
    ]).join("\n");
  }

  /** Products of all own rows of `a` with all other rows of `b`, as `name<own>_<other>`. */
  products(name: string, a: Rows, b: Rows): string {
    const { plan } = this;
    const held = this.#isHeld(a);
    const step = (d: number, looped: boolean) => [
      ...range(plan.others).map((t) =>
        `    let ${name}x${t}_${d} = ${b.load(`${b.name}r${t}`, d, looped)};`
      ),
      ...range(plan.own).flatMap((r) => {
        const left = held ? `${a.name}o${r}_${d}` : `${name}y${r}_${d}`;
        return [
          held ? "" : `    let ${left} = ${a.load(`${a.name}r${r}`, d, looped)};`,
          ...range(plan.others).map((t) => `    ${name}v${r}_${t} += ${left} * ${name}x${t}_${d};`),
        ];
      }),
    ];
    const lines = [eachPair(plan, (r, t) => `    var ${name}v${r}_${t} = vec4<f32>();`)];
    const whole = plan.loops && !held ? Math.floor(a.columns / 4 / LOOPED) * LOOPED : 0;
    if (whole > 0) {
      const turn = range(LOOPED).flatMap((d) => step(d, true));
      lines.push(`    for (var d = 0u; d < ${whole}u; d += ${LOOPED}u) {`, ...turn, "    }");
    }
    lines.push(...range(quadsOf(a.columns)).slice(whole).flatMap((d) => step(d, false)));
    const sum = (v: string) => `(${v}.x + ${v}.y) + (${v}.z + ${v}.w)`;
    lines.push(
      eachPair(plan, (r, t) => `    let ${name}${r}_${t} = ${sum(`${name}v${r}_${t}`)};`),
    );
    return lines.join("\n");
  }

  /** The indices of the query and key of a pair. */
  #pair(r: number, t: number, held = ""): readonly [string, string] {
    return this.byKey ? [`i${held}${t}`, `j${held}${r}`] : [`i${held}${r}`, `j${held}${t}`];
  }

  /** The scores `s<own>_<other>`. */
  scores(): string {
    const { p, plan, own, other } = this;
    const value = (r: number, t: number) => {
      const [i, j] = this.#pair(r, t);
      const at = p.mask && maskAt(p.mask, ...this.#pair(r, t, "c"));
      let text = `d${r}_${t} * u.s0`;
      if (p.mask?.dtype === "f32") text += ` + mask[${at}]`;
      const counts = [
        p.mask?.dtype === "bool" ? `mask[${at}] != 0u` : "",
        p.causal ? `${j} <= ${i}` : "",
        other.size % plan.others === 0 ? "" : `${other.index}${t} < ${other.size}u`,
      ].filter((c) => c !== "");
      return counts.length === 0 ? text : `select(-inf(), ${text}, ${counts.join(" && ")})`;
    };
    return [
      this.products("d", own.matrix, other.matrix),
      eachPair(plan, (r, t) => `    let s${r}_${t} = ${value(r, t)};`),
    ].join("\n");
  }

  /** What the weight of a pair is multiplied with, or an empty text. */
  keep(r: number, t: number): string {
    const { queries, keys, dropout } = this.p;
    if (!dropout) return "";
    const [i, j] = this.#pair(r, t, "c");
    return `keep((item * ${queries}u + ${i}) * ${keys}u + ${j})`;
  }

  /** Declares `name<row>_<vector>` as sums of 0. */
  sums(name: string): string {
    return this.#eachSum((r, d) => `  var ${name}${r}_${d} = vec4<f32>();`);
  }

  #eachSum(text: (r: number, d: number) => string): string {
    const { own, quads } = this.plan;
    return range(own).flatMap((r) => range(quads).map((d) => text(r, d))).join("\n");
  }

  /** Adds the other rows of a matrix, each times a weight; the sums are multiplied with a factor before. */
  add(name: string, matrix: Rows, weight: string, factor?: string): string {
    const { plan } = this;
    const lines: string[] = [];
    for (const d of range(plan.quads)) {
      for (const t of range(plan.others)) {
        lines.push(
          `    let ${name}x${t}_${d} = ${matrix.loadFrom(`${matrix.name}r${t}`, plan, d)};`,
        );
      }
      for (const r of range(plan.own)) {
        const sum = `${name}${r}_${d}`;
        if (factor) lines.push(`    ${sum} *= ${factor}${r};`);
        for (const t of range(plan.others)) {
          lines.push(`    ${sum} += ${weight}${r}_${t} * ${name}x${t}_${d};`);
        }
      }
    }
    return lines.join("\n");
  }

  /** Stores the sums of the own rows that are there. */
  store(to: Rows, name: string, value: (sum: string, r: number) => string, beside = ""): string {
    const { plan, own } = this;
    return range(plan.own).map((r) =>
      `  if (${own.index}${r} < ${own.size}u) {
    ${to.row(`${to.base}o${r}`, `${own.index}${r}`)}
${
        range(plan.quads).map((d) =>
          `    ${to.store(`${to.base}o${r}`, plan, d, value(`${name}${r}_${d}`, r))}`
        ).join("\n")
      }
${beside.replaceAll("#", `${r}`)}
  }`
    ).join("\n");
  }
}

function maskAt({ rowStride, columnStride }: MaskOperand, i: string, j: string): string {
  const terms = [[i, rowStride], [j, columnStride]] as const;
  const texts = terms.flatMap(([name, s]) => s === 0 ? [] : [`${name} * ${u32(s)}`]);
  return ["maskBase", ...texts].join(" + ");
}

/** Of each query the largest score so far `m`, and the sum `l` of exponentials relative to it. */
export function outputProgram(p: AttentionOutputParams, traits: DeviceTraits): WgslProgram {
  const plan = planOf(p, p.width, traits);
  const a = new Attention(p, plan, false);
  const out = new Rows("y", p.out, p.width);
  const each = (text: (r: number) => string) => range(plan.own).map(text).join("\n");
  const others = range(plan.others);
  const before = [
    each((r) => `  var m${r} = -inf();\n  var l${r} = 0.0;\n  var shift${r} = 0.0;`),
    a.sums("acc"),
  ].join("\n");
  const weights = each((r) =>
    [
      `    let top${r} = ${others.map((t) => `s${r}_${t}`).reduce((x, y) => `max(${x}, ${y})`)};`,
      `    let next${r} = max(m${r}, top${r});`,
      // A query without a finite score is not shifted: nothing of it would be left.
      `    shift${r} = select(0.0, next${r}, is_finite(next${r}));`,
      `    let fade${r} = precise_exp(m${r} - shift${r});`,
      `    m${r} = next${r};`,
      ...others.map((t) => `    let e${r}_${t} = precise_exp(s${r}_${t} - shift${r});`),
      `    l${r} = l${r} * fade${r} + (${others.map((t) => `e${r}_${t}`).join(" + ")});`,
      ...others.map((t) =>
        `    let w${r}_${t} = e${r}_${t}${p.dropout ? ` * ${a.keep(r, t)}` : ""};`
      ),
    ].join("\n")
  );
  const values = range(plan.others).map((t) => `    ${a.v.row(`vr${t}`, `jc${t}`)}`).join("\n");
  const loop = [a.scores(), weights, values, a.add("acc", a.v, "w", "fade")].join("\n");
  const shares = each((r) => `  let share${r} = select(1.0 / l${r}, 0.0, l${r} == 0.0);`);
  const log = `    if (chunk == 0u) {
      logs[item * ${p.queries}u + i#] = select(shift# + precise_log(l#), 0.0, l# == 0.0);
    }`;
  const after = `${shares}\n${a.store(out, "acc", (sum, r) => `${sum} * share${r}`, log)}`;
  const outputs: Binding[] = [out.binding(), { name: "logs", dtype: "f32" }];
  return a.program(before, loop, after, { inputs: [] }, outputs, [out], traits);
}

/** Statements that load the logarithm and the sum of g · out of queries. */
function rowNumbers(p: AttentionParams, count: number): string {
  return range(count).map((n) =>
    `    let log${n} = rows[(2u * item) * ${p.queries}u + ic${n}];
    let rest${n} = rows[(2u * item + 1u) * ${p.queries}u + ic${n}];`
  ).join("\n");
}

/** The weights `w`, dropped or not, and the gradients `z` of the scores before they were scaled. */
function gradients(a: Attention): string {
  return eachPair(a.plan, (r, t) => {
    const query = a.byKey ? t : r;
    const keep = a.keep(r, t);
    const pair = `${r}_${t}`;
    return [
      `    let e${pair} = precise_exp(s${pair} - log${query});`,
      keep ? `    let keep${pair} = ${keep};\n    let w${pair} = e${pair} * keep${pair};` : "",
      `    let z${pair} = e${pair} * (h${pair}${
        keep ? ` * keep${pair}` : ""
      } - rest${query}) * u.s0;`,
    ].join("\n");
  });
}

export function gradientProgram(p: AttentionQueryParams, traits: DeviceTraits): WgslProgram {
  const plan = planOf(p, p.depth, traits);
  const a = new Attention(p, plan, false);
  const g = new Rows("g", p.g, p.width);
  const dq = new Rows("dq", p.dq, p.depth);
  const before = [
    ...range(plan.own).map((r) => `  ${g.row(`gr${r}`, `ic${r}`)}`),
    a.held(g),
    rowNumbers(p, plan.own),
    a.sums("acc"),
  ].join("\n");
  const values = range(plan.others).map((t) => `    ${a.v.row(`vr${t}`, `jc${t}`)}`).join("\n");
  const loop = [
    a.scores(),
    values,
    a.products("h", g, a.v),
    gradients(a),
    a.add("acc", a.k, "z"),
  ].join("\n");
  const after = a.store(dq, "acc", (sum) => sum);
  const operands = { inputs: [g], rows: true };
  return a.program(before, loop, after, operands, [dq.binding()], [g, dq], traits);
}

export function keyProgram(p: AttentionKeyParams, traits: DeviceTraits): WgslProgram {
  if (p.dq) throw new Error("internal: gradients of queries have a kernel of their own in WGSL");
  const plan = planOf(p, Math.max(p.depth, p.width), traits);
  const a = new Attention(p, plan, true);
  const g = new Rows("g", p.g, p.width);
  const vector = !p.together || (isVector(p.dk, p.depth) && isVector(p.dv, p.width));
  const dk = new Rows("dk", p.dk, p.depth, "dk", vector);
  const dv = new Rows(p.together ? "dk" : "dv", p.dv, p.width, "dv", vector);
  const before = [
    ...range(plan.own).map((r) => `  ${a.v.row(`vr${r}`, `jc${r}`)}`),
    a.held(a.v),
    a.sums("ofKey"),
    a.sums("ofValue"),
  ].join("\n");
  const loop = [
    a.scores(),
    range(plan.others).map((t) => `    ${g.row(`gr${t}`, `ic${t}`)}`).join("\n"),
    rowNumbers(p, plan.others),
    a.products("h", a.v, g),
    gradients(a),
    a.add("ofKey", a.q, "z"),
    a.add("ofValue", g, p.dropout ? "w" : "e"),
  ].join("\n");
  const after = [
    a.store(dk, "ofKey", (sum) => sum),
    a.store(dv, "ofValue", (sum) => sum),
  ].join("\n");
  const outputs = p.together ? [dk.binding()] : [dk.binding(), dv.binding()];
  return a.program(before, loop, after, { inputs: [g], rows: true }, outputs, [g, dk, dv], traits);
}
