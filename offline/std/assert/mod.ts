/**
 * The assertions that the tests use, over `node:assert`, with the signatures of `@std/assert`.
 *
 * @module
 */

import { AssertionError, deepStrictEqual } from "node:assert";
import { equal } from "./equal.ts";

export { AssertionError };
export { equal };

// deno-lint-ignore no-explicit-any
type AnyConstructor = new (...args: any[]) => any;
// deno-lint-ignore no-explicit-any
type AbstractConstructor = abstract new (...args: any[]) => any;
// deno-lint-ignore no-explicit-any
type ErrorConstructorOf<E extends Error> = abstract new (...args: any[]) => E;

/**
 * Fails always.
 *
 * @param msg text for the error
 * @throws {AssertionError} always
 */
export function fail(msg?: string): never {
  throw new AssertionError({ message: `Failed assertion${msg ? `: ${msg}` : ""}` });
}

/**
 * Checks that a value is truthy.
 *
 * @param expr the value
 * @param msg text for the error
 * @throws {AssertionError} when it is falsy
 */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError({ message: msg || "Expected a truthy value" });
}

/**
 * Checks that two values are deeply equal; NaN equals NaN, 0 equals -0.
 *
 * @param actual what was computed
 * @param expected what it must be
 * @param msg text for the error
 * @throws {AssertionError} with a diff when they differ
 */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    if (!(error instanceof AssertionError)) throw error;
    throw new AssertionError({ message: join(error.message, msg), actual, expected });
  }
  fail(join("Values are not equal", msg));
}

/**
 * Checks that two values are not deeply equal.
 *
 * @param actual what was computed
 * @param expected what it must not be
 * @param msg text for the error
 * @throws {AssertionError} when they are equal
 */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  fail(join(`Expected a value other than ${show(expected)}`, msg));
}

/**
 * Checks that two values are the same by `Object.is`.
 *
 * @param actual what was computed
 * @param expected what it must be
 * @param msg text for the error
 * @throws {AssertionError} when they are not the same
 */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  fail(join(`Expected ${show(actual)} to be strictly ${show(expected)}`, msg));
}

/**
 * Checks that two numbers are close.
 *
 * @param actual what was computed
 * @param expected what it must be
 * @param tolerance greatest absolute difference; 1e-7 of `expected` when left out
 * @param msg text for the error
 * @throws {AssertionError} when they are further apart
 */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  const delta = Math.abs(expected - actual);
  if (delta <= allowed) return;
  const text = `Expected ${actual} to be close to ${expected}: delta ${delta} is above ${allowed}`;
  fail(join(text, msg));
}

/**
 * Checks that a function throws.
 *
 * @param fn the function
 * @param msg text for the error
 * @returns what it threw
 * @throws {AssertionError} when it does not throw
 */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Checks that a function throws an error of a class, with a text in its message.
 *
 * @param fn the function
 * @param ErrorClass the class
 * @param msgIncludes part of the message
 * @param msg text for the error
 * @returns what it threw
 * @throws {AssertionError} when it does not throw such an error
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorConstructorOf<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  classOrMsg?: ErrorConstructorOf<E> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const text = typeof classOrMsg === "string" ? classOrMsg : msg;
  try {
    fn();
  } catch (error) {
    if (typeof classOrMsg === "function") checkError(error, classOrMsg, msgIncludes, text);
    return error;
  }
  fail(join("Expected the function to throw", text));
}

/**
 * Checks that a promise is rejected.
 *
 * @param fn a function that returns the promise
 * @param msg text for the error
 * @returns the reason
 * @throws {AssertionError} when it resolves, or when the function throws at once
 */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/**
 * Checks that a promise is rejected by an error of a class, with a text in its message.
 *
 * @param fn a function that returns the promise
 * @param ErrorClass the class
 * @param msgIncludes part of the message
 * @param msg text for the error
 * @returns the reason
 * @throws {AssertionError} when it is not rejected by such an error
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorConstructorOf<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorConstructorOf<E> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const text = typeof classOrMsg === "string" ? classOrMsg : msg;
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (error) {
    fail(join(`Expected a rejection, but the function threw: ${show(error)}`, text));
  }
  try {
    await promise;
  } catch (error) {
    if (typeof classOrMsg === "function") checkError(error, classOrMsg, msgIncludes, text);
    return error;
  }
  fail(join("Expected the promise to be rejected", text));
}

/**
 * Checks that a text matches a pattern.
 *
 * @param actual the text
 * @param expected the pattern
 * @param msg text for the error
 * @throws {AssertionError} when it does not match
 */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) fail(join(`Expected ${show(actual)} to match ${expected}`, msg));
}

/**
 * Checks that a text contains another.
 *
 * @param actual the text
 * @param expected the part
 * @param msg text for the error
 * @throws {AssertionError} when it does not contain it
 */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (actual.includes(expected)) return;
  fail(join(`Expected ${show(actual)} to contain ${show(expected)}`, msg));
}

/**
 * Checks that a value is an instance of a class.
 *
 * @param actual the value
 * @param expectedType the class
 * @param msg text for the error
 * @throws {AssertionError} when it is not
 */
export function assertInstanceOf<T extends AbstractConstructor>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  fail(join(`Expected an instance of ${expectedType.name}, got ${show(actual)}`, msg));
}

/**
 * Checks that a value is neither null nor undefined.
 *
 * @param actual the value
 * @param msg text for the error
 * @throws {AssertionError} when it is
 */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === null || actual === undefined) {
    fail(join(`Expected a value, got ${actual}`, msg));
  }
}

/**
 * Checks that `actual > expected`.
 *
 * @param actual what was computed
 * @param expected the bound
 * @param msg text for the error
 * @throws {AssertionError} when it is not
 */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) fail(join(`Expected ${show(actual)} > ${show(expected)}`, msg));
}

/**
 * Checks that `actual >= expected`.
 *
 * @param actual what was computed
 * @param expected the bound
 * @param msg text for the error
 * @throws {AssertionError} when it is not
 */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) fail(join(`Expected ${show(actual)} >= ${show(expected)}`, msg));
}

/**
 * Checks that `actual < expected`.
 *
 * @param actual what was computed
 * @param expected the bound
 * @param msg text for the error
 * @throws {AssertionError} when it is not
 */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) fail(join(`Expected ${show(actual)} < ${show(expected)}`, msg));
}

/**
 * Checks that `actual <= expected`.
 *
 * @param actual what was computed
 * @param expected the bound
 * @param msg text for the error
 * @throws {AssertionError} when it is not
 */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) fail(join(`Expected ${show(actual)} <= ${show(expected)}`, msg));
}

function checkError(
  error: unknown,
  errorClass: AbstractConstructor | AnyConstructor,
  msgIncludes: string | undefined,
  msg: string | undefined,
): void {
  if (!(error instanceof errorClass)) {
    fail(join(`Expected an error of class ${errorClass.name}, got ${show(error)}`, msg));
  }
  const message = (error as Error).message;
  if (msgIncludes && !message.includes(msgIncludes)) {
    fail(join(`Expected a message with ${show(msgIncludes)}, got ${show(message)}`, msg));
  }
}

function join(text: string, msg: string | undefined): string {
  return msg ? `${text}: ${msg}` : text;
}

function show(value: unknown): string {
  return Deno.inspect(value, { depth: 4 });
}
