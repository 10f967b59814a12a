/** Rows of trigonometric and hyperbolic functions. */

import { rows } from "./row.ts";

/** Rows of this family by name. */
export const trigonometric = rows({});
