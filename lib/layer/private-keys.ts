/**
 * Which extended attributes belong to the layer's format and not to its users, and how users' keys that look the same are kept apart.
 * Always true: shownKey(storedKey(k)) === k for every key a user may set, and no user can reach a private key.
 *
 *   on disk                               shown as
 *   trusted.overlay.overlay.X             trusted.overlay.X      (the kernel's escape: an overlay inside an overlay)
 *   user.overlay.overlay.X                user.overlay.X
 *   trusted.overlay.*, user.overlay.*     hidden
 *   user.fuseoverlayfs.*                  hidden
 *   security.fuseoverlayfs.*              hidden
 *   user.containers.override_stat         hidden
 *   user.containers.override_security.X   hidden                 (where xattrs stand in for permissions: security.X)
 *
 * The last is hidden everywhere, because the same directory may be read elsewhere as one in which it counts.
 */
const ESCAPED_TRUSTED = "trusted.overlay.overlay.";
const ESCAPED_USER = "user.overlay.overlay.";
const TRUSTED = "trusted.overlay.";
const USER = "user.overlay.";
const OVERRIDE = "user.containers.override_";
const SECURITY = "security.";

/** The key that users see for one on disk; undefined when they see none. `override`: security.* lives in user.containers.*. */
export function shownKey(stored: string, override: boolean): string | undefined {
  if (stored.startsWith(ESCAPED_TRUSTED)) return TRUSTED + stored.slice(ESCAPED_TRUSTED.length);
  if (stored.startsWith(ESCAPED_USER)) return USER + stored.slice(ESCAPED_USER.length);
  if (stored.startsWith(TRUSTED) || stored.startsWith(USER)) return undefined;
  if (stored.startsWith("user.fuseoverlayfs.") || stored.startsWith("security.fuseoverlayfs.")) return undefined;
  if (stored === "user.containers.override_stat") return undefined;
  if (stored.startsWith(OVERRIDE + SECURITY)) return override ? stored.slice(OVERRIDE.length) : undefined;
  return stored;
}

/** The key on disk for one that a user names; undefined when the key is out of users' reach. */
export function storedKey(shown: string, override: boolean): string | undefined {
  if (shown.startsWith(TRUSTED)) return ESCAPED_TRUSTED + shown.slice(TRUSTED.length);
  if (shown.startsWith(USER)) return ESCAPED_USER + shown.slice(USER.length);
  if (shown.startsWith("user.fuseoverlayfs.") || shown.startsWith("security.fuseoverlayfs.")) return undefined;
  if (shown === "user.containers.override_stat") return undefined;
  if (override && shown.startsWith(SECURITY)) return OVERRIDE + shown;
  if (shown.startsWith(OVERRIDE + SECURITY)) return undefined;
  return shown;
}
