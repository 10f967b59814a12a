/**
 * CSV text in and out, with the signatures of `@std/csv`.
 *
 * @module
 */

export * from "./parse.ts";
export * from "./stringify.ts";
