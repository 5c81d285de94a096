/** What a mount needs of the library, so that a bundle of it holds no more. */
export { detachProcess, hindranceToLasting, mount, mountLasting, overlay, remountFuse } from "../index.js";
