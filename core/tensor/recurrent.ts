/**
 * Recurrent layers over whole sequences: a loop of one product and one or two formulas for each step,
 * as one op of the tape. Its gradient computes the gates of all steps again at once, so that the loop
 * backwards has only what depends on the step behind.
 */

import { apply, constant, type Expr, input } from "../../kernels/expr.ts";
import { map } from "./map.ts";
import { linear, matmul } from "./matmul.ts";
import { noGrad, record } from "./tape.ts";
import { tensor } from "./create.ts";
import type { Tensor } from "./tensor.ts";
import { sequenceOf, stepsOf } from "./steps.ts";
import { concat, narrow, reshape, select, stack } from "./view.ts";

/** What a step computes: a plain layer with either nonlinearity, or gates. */
export type CellKind = "tanh" | "relu" | "lstm" | "gru";

/** Products of a step, in units of the hidden size. */
export const gateCount: Readonly<Record<CellKind, number>> = { tanh: 1, relu: 1, lstm: 4, gru: 3 };

/** A recurrence over a sequence. */
export interface Recurrence {
  readonly kind: CellKind;
  /** What the inputs add to the gates [T, N, G·H], f32. */
  readonly gates: Tensor;
  /** [G·H, H], f32. */
  readonly weight: Tensor;
  /** Added to the products of the state [G·H], f32, or null. */
  readonly bias: Tensor | null;
  /** State before the first step [N, H], f32. */
  readonly h: Tensor;
  /** Cell before the first step [N, H], f32, of an LSTM. */
  readonly c: Tensor | null;
  /** Whether the last step of the sequence is the first one. */
  readonly reverse: boolean;
}

const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
const sub = (a: Expr, b: Expr): Expr => apply("sub", a, b);
const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);
const sigmoid = (a: Expr): Expr => apply("sigmoid", a);
const tanh = (a: Expr): Expr => apply("tanh", a);
const one = constant(1);
/** `s·(1 − s)`, the derivative of a sigmoid from its value. */
const slope = (s: Expr): Expr => mul(s, sub(one, s));
/** `1 − t²`, the derivative of a hyperbolic tangent from its value. */
const bend = (t: Expr): Expr => sub(one, apply("square", t));
const [i0, i1, i2, i3] = [0, 1, 2, 3].map(input);

/** Plain step over what the input and what the state adds. */
const plain = { tanh: tanh(add(i0, i1)), relu: apply("relu", add(i0, i1)) };
/** The cell of an LSTM over the three parts of the input, those of the state, and the cell before. */
const nextCell = add(
  mul(sigmoid(add(i1, input(4))), input(6)),
  mul(sigmoid(add(i0, i3)), tanh(add(i2, input(5)))),
);
/** The state of an LSTM over the part of the input, that of the state, and the cell. */
const nextHidden = mul(sigmoid(add(i0, i1)), tanh(i2));
/** The state of a GRU over the three parts of the input, those of the state, and the state before. */
const nextGated = (() => {
  const candidate = tanh(add(i2, mul(sigmoid(add(i0, i3)), input(5))));
  const kept = sigmoid(add(i1, input(4)));
  return add(mul(sub(one, kept), candidate), mul(kept, input(6)));
})();

/** The parts of gates along their last axis. */
function parts(gates: Tensor, count: number): Tensor[] {
  const size = gates.shape.at(-1)! / count;
  return Array.from({ length: count }, (_, k) => narrow(gates, -1, k * size, size));
}

/** What a step reads. */
export interface StepInputs {
  /** What the input adds to the gates [N, G·H]. */
  readonly x: Tensor;
  /** What the state adds to them. */
  readonly y: Tensor;
  readonly h: Tensor;
  readonly c: Tensor | null;
}

/**
 * One step, in ops of the tape.
 *
 * @param kind what the step computes
 * @param inputs what input and state add to the gates [N, G·H], the state, and the cell of an LSTM
 * @returns the next state, and the next cell of an LSTM
 */
export function recurrentStep(
  kind: CellKind,
  { x, y, h, c }: StepInputs,
): [Tensor, Tensor | null] {
  const op = `${kind} step`;
  if (kind === "tanh" || kind === "relu") return [map(op, plain[kind], [x, y]), null];
  const [a, b] = [parts(x, gateCount[kind]), parts(y, gateCount[kind])];
  if (kind === "gru") return [map(op, nextGated, [...a, ...b, h]), null];
  const cell = map(op, nextCell, [...a.slice(0, 3), ...b.slice(0, 3), c!]);
  return [map(op, nextHidden, [a[3], b[3], cell]), cell];
}

/**
 * All states of a recurrence; differentiable to any order.
 *
 * @param problem what is computed
 * @returns [T, 1, N, H], or [T, 2, N, H] with state and cell of an LSTM; T must not be 0
 */
export function recurrent(problem: Recurrence): Tensor {
  const { gates, weight, bias, h, c } = problem;
  const states = noGrad(() => forward(problem));
  const inputs = [gates, weight, h, ...(bias ? [bias] : []), ...(c ? [c] : [])];
  return record(`${problem.kind} sequence`, states, inputs, (g) => {
    const found = backward(problem, states, g);
    return [
      found.gates,
      found.weight,
      found.h,
      ...(bias ? [found.bias] : []),
      ...(c ? [found.c] : []),
    ];
  }, [...inputs, states]);
}

function forward({ kind, gates, weight, bias, h, c, reverse }: Recurrence): Tensor {
  const length = gates.shape[0];
  const slots = kind === "lstm" ? 2 : 1;
  const inputs = stepsOf(gates);
  const steps = new Array<Tensor>(length * slots);
  let [state, cell] = [h, c];
  for (const t of order(length, reverse)) {
    const y = linear(state, weight, bias);
    [state, cell] = recurrentStep(kind, { x: inputs[t], y, h: state, c: cell });
    steps[slots * t] = state;
    if (cell !== null) steps[slots * t + 1] = cell;
    y.dispose();
  }
  // A buffer cannot be read and written in one dispatch, so steps have memory of their own first.
  const all = sequenceOf(steps);
  steps.forEach((t) => t.dispose());
  return reshape(all, [length, slots, ...h.shape]);
}

/** Places of a sequence in the order of the steps. */
function order(length: number, reverse: boolean): number[] {
  return Array.from({ length }, (_, t) => reverse ? length - 1 - t : t);
}

interface Gradients {
  readonly gates: Tensor;
  readonly weight: Tensor | null;
  readonly bias: Tensor | null;
  readonly h: Tensor;
  readonly c: Tensor | null;
}

/** What a loop backwards finds: gradients of the gates' two parts [T, N, G·H], and of the first state. */
interface Traced {
  readonly gates: Tensor;
  /** Of what the state added, where it is another one. */
  readonly products: Tensor;
  readonly h: Tensor;
  readonly c: Tensor | null;
}

function backward(problem: Recurrence, states: Tensor, g: Tensor): Gradients {
  const { kind, weight, bias, h, c, reverse } = problem;
  const before = shifted(select(states, 1, 0), h, reverse);
  const trace = kind === "lstm" ? traceLstm : kind === "gru" ? traceGru : tracePlain;
  const found = trace(problem, {
    states,
    before,
    cells: c === null ? null : shifted(select(states, 1, 1), c, reverse),
    g,
  });
  const rows = found.products.reshape([-1, weight.shape[0]]);
  return {
    gates: found.gates,
    weight: weight.requiresGrad ? matmul(rows.t(), before.reshape([-1, weight.shape[1]])) : null,
    bias: bias?.requiresGrad ? rows.sum(0) : null,
    h: found.h,
    c: found.c,
  };
}

/** The state before each step. */
function shifted(states: Tensor, first: Tensor, reverse: boolean): Tensor {
  const length = states.shape[0];
  const start = first.unsqueeze(0);
  if (length === 1) return start;
  return reverse
    ? concat([narrow(states, 0, 1, length - 1), start])
    : concat([start, narrow(states, 0, 0, length - 1)]);
}

/** What the loops backwards read. */
interface Past {
  readonly states: Tensor;
  /** State before each step [T, N, H]. */
  readonly before: Tensor;
  /** Cell before each step [T, N, H], of an LSTM. */
  readonly cells: Tensor | null;
  /** [T, S, N, H] */
  readonly g: Tensor;
}

/** What the state added to the gates in all steps [T, N, G·H]. */
function products({ weight, bias }: Recurrence, before: Tensor): Tensor {
  return linear(before, weight, bias);
}

/** The gradient of a state: what the output hands over, and what comes from the step behind. */
function arriving(own: Tensor, behind: Tensor | null): Tensor {
  return behind === null ? own : own.add(behind);
}

const plainSlope = {
  tanh: mul(i0, bend(i1)),
  relu: apply("where", apply("gt", i1, constant(0)), i0, constant(0)),
};

function tracePlain({ kind, weight, reverse }: Recurrence, { states, g }: Past): Traced {
  const length = states.shape[0];
  const [values, own] = [states, g].map((t) => stepsOf(select(t, 1, 0)));
  const steps = new Array<Tensor>(length);
  let behind: Tensor | null = null;
  for (const t of order(length, !reverse)) {
    const ofState = arriving(own[t], behind);
    steps[t] = map("rnn backward", plainSlope[kind as "tanh" | "relu"], [ofState, values[t]]);
    behind = matmul(steps[t], weight);
  }
  const gates = sequenceOf(steps);
  return { gates, products: gates, h: behind!, c: null };
}

// Over the sums of two gates, or of a gate and a cell.
const lstmFactors = [
  mul(tanh(i1), slope(sigmoid(i0))), // of the input gate: input gate, candidate
  mul(i1, slope(sigmoid(i0))), // of the forget gate: forget gate, cell before
  mul(sigmoid(i1), bend(tanh(i0))), // of the candidate: candidate, input gate
  mul(tanh(i1), slope(sigmoid(i0))), // of the output gate: output gate, cell
];
/** By how much the cell moves the state: output gate, cell. */
const cellFactor = mul(sigmoid(i0), bend(tanh(i1)));
const ofCell = add(add(mul(i0, i1), i2), i3);
const ofLastCell = add(mul(i0, i1), i2);
/** Gradients of the gates: of the cell, of the state, which of both counts, factor. */
const ofGates = mul(apply("where", apply("gt", i2, constant(0)), i0, i1), i3);

function traceLstm(problem: Recurrence, { states, before, cells, g }: Past): Traced {
  const { weight, gates, reverse } = problem;
  const [length, , batch, size] = states.shape;
  const [input, forget, candidate, output] = parts(gates.add(products(problem, before)), 4);
  const cell = select(states, 1, 1);
  const pairs = [[input, candidate], [forget, cells!], [candidate, input], [output, cell]];
  const op = "lstm backward";
  const factors = stepsOf(stack(pairs.map((pair, k) => map(op, lstmFactors[k], pair)), 2));
  const through = stepsOf(map(op, cellFactor, [output, cell]));
  const kept = stepsOf(forget.sigmoid());
  const [ownState, ownCell] = [0, 1].map((place) => stepsOf(select(g, 1, place)));
  // The output gate acts on the state, the others on the cell.
  const onCell = tensor([[1], [1], [1], [0]], { device: gates.device });
  const steps = new Array<Tensor>(length);
  let behind: Tensor | null = null;
  let carried: Tensor | null = null;
  for (const t of order(length, !reverse)) {
    const ofState = arriving(ownState[t], behind);
    const own = [ofState, through[t], ownCell[t]];
    const ofThis: Tensor = carried === null
      ? map(op, ofLastCell, own)
      : map(op, ofCell, [...own, carried]);
    const sides = [ofThis.unsqueeze(1), ofState.unsqueeze(1), onCell, factors[t]];
    const step = map(op, ofGates, sides);
    steps[t] = step.reshape([batch, 4 * size]);
    carried = ofThis.mul(kept[t]);
    behind = matmul(steps[t], weight);
  }
  const all = sequenceOf(steps);
  return { gates: all, products: all, h: behind!, c: carried };
}

/** The candidate of a GRU: part of the input, part of the state, sum of the reset gate. */
const candidateFormula = tanh(add(i0, mul(sigmoid(i2), i1)));
/** `(1 − z)·(1 − n²)` over the sum of the update gate and the candidate. */
const candidateFactor = mul(sub(one, sigmoid(i0)), bend(i1));
const gruFactors = [
  mul(mul(i0, i1), slope(sigmoid(i2))), // of the reset gate: candidate factor, product, reset gate
  mul(sub(i0, i1), slope(sigmoid(i2))), // of the update gate: state before, candidate, update gate
  mul(i0, sigmoid(i1)), // of the product of the candidate: candidate factor, reset gate
];
const ofBefore = add(i0, mul(i1, i2));

function traceGru(problem: Recurrence, { states, before, g }: Past): Traced {
  const { weight, gates, reverse } = problem;
  const [length, , batch, size] = states.shape;
  const [xr, xz, xn] = parts(gates, 3);
  const [yr, yz, yn] = parts(products(problem, before), 3);
  const [reset, update] = [xr.add(yr), xz.add(yz)];
  const op = "gru backward";
  const candidate = map(op, candidateFormula, [xn, yn, reset]);
  const factor = map(op, candidateFactor, [update, candidate]);
  const factors = stepsOf(stack([
    map(op, gruFactors[0], [factor, yn, reset]),
    map(op, gruFactors[1], [before, candidate, update]),
    map(op, gruFactors[2], [factor, reset]),
  ], 2));
  const kept = stepsOf(update.sigmoid());
  const own = stepsOf(select(g, 1, 0));
  const steps = new Array<Tensor>(length);
  const ofStates = new Array<Tensor>(length);
  let behind: Tensor | null = null;
  for (const t of order(length, !reverse)) {
    const ofState = arriving(own[t], behind);
    ofStates[t] = ofState;
    steps[t] = ofState.unsqueeze(1).mul(factors[t]).reshape([batch, 3 * size]);
    behind = map(op, ofBefore, [matmul(steps[t], weight), ofState, kept[t]]);
  }
  const ofProducts = sequenceOf(steps);
  const ofCandidate = sequenceOf(ofStates).mul(factor);
  const ofOthers = narrow(ofProducts, 2, 0, 2 * size);
  return {
    gates: concat([ofOthers, ofCandidate], 2),
    products: ofProducts,
    h: behind!,
    c: null,
  };
}
