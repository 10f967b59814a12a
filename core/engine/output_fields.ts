/** Which values a step output has, as far as the compiler knows. */

import type {
  DictStepOutput,
  StepOutput,
  SupervisedStepOutput,
  UnsupervisedStepOutput,
} from "./step_output.ts";

/**
 * The names of the values that a step output may have: those of the two usual outputs, or the keys
 * of the object that the step returns. It is `string` where the compiler cannot know them, as with
 * outputs of a program's own.
 */
export type FieldOf<O extends StepOutput> = [O, keyof O] extends
  [SupervisedStepOutput, keyof SupervisedStepOutput]
  ? "loss" | "predictions" | "targets" | "metadata"
  : [O, keyof O] extends [UnsupervisedStepOutput, keyof UnsupervisedStepOutput]
    ? "loss" | "reconstructions" | "embeddings" | "metadata"
  : [O, keyof O] extends [DictStepOutput<infer D>, keyof DictStepOutput]
    ? unknown extends D ? string : ObjectField<D>
  : string;

/** The names of the values of an object, of any kind where it may be one of several. */
export type ObjectField<D> = D extends unknown ? Extract<keyof D, string> : never;

/**
 * Something that reads values of step outputs, such as a metric; `F` are their names.
 *
 * An engine whose steps return none of that name does not take it: that is a compile error.
 */
export interface OutputReader<F extends string = string> {
  /** Never there at run time: it tells the compiler the names. */
  readonly reads?: F;
}

/** `F` where all names are known; where they are not, what fits every output. */
// deno-lint-ignore no-explicit-any -- it must fit both ways, as no other type does
export type KnownFields<F extends string> = string extends F ? any : F;
