/** How long a thread may stay in loops. */

/**
 * Turns of a thread in loops at most. Mesa's llvmpipe leaves all loops of a thread without a word
 * after 65,535 turns, counted over all of them, nested ones too.
 */
export const LOOP_LIMIT = 32768;
