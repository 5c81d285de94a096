/** ImageError: what can be wrong with an image that is to be imported. */

/**
 * - `ERR_IMAGE_FORMAT`: no image, or documents in it that are not what they should be.
 * - `ERR_IMAGE_MISSING`: a blob or document that the image names and does not hold; an image or platform it does not have.
 * - `ERR_IMAGE_DIGEST`: a blob, document or layer of another digest or size than announced.
 * - `ERR_IMAGE_COMPRESSION`: a layer that does not decompress.
 * - `ERR_IMAGE_ENTRY`: an entry of a layer that must not be unpacked: a name or link that leads out, a whiteout of nothing, a device 0:0.
 * - `ERR_IMAGE_LIMIT`: larger than allowed.
 */
export type ImageCode =
  | "ERR_IMAGE_FORMAT" | "ERR_IMAGE_MISSING" | "ERR_IMAGE_DIGEST" | "ERR_IMAGE_COMPRESSION" | "ERR_IMAGE_ENTRY" | "ERR_IMAGE_LIMIT";

export class ImageError extends Error {
  readonly code: ImageCode;

  constructor(code: ImageCode, message: string, options?: { cause?: unknown }) {
    super(`${code}: ${message}`, options);
    this.name = "ImageError";
    this.code = code;
  }
}
