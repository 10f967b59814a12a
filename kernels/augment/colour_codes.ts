/** Numbers of the changes that a row of an image may name. */

/** Changes of colour, then those of geometry from 16 on. */
export const CODES = {
  identity: 0,
  brightness: 1,
  contrast: 2,
  saturation: 3,
  hue: 4,
  grayscale: 5,
  invert: 6,
  posterize: 7,
  solarize: 8,
  autocontrast: 9,
  equalize: 10,
  sharpness: 11,
  shearX: 16,
  shearY: 17,
  translateX: 18,
  translateY: 19,
  rotate: 20,
} as const;

/** A change of an image by name. */
export type ChangeName = keyof typeof CODES;
