import { expect } from "chai";
import { placeOf } from "../../lib/cli/transport.js";
import { UsageError } from "../../lib/cli/usage.js";

describe("where an image is", () => {
  for (const [text, transport, path, name] of [
    ["out", undefined, "out", undefined],
    ["./oci:out", undefined, "./oci:out", undefined],
    ["/a/b:c.tar", undefined, "/a/b:c.tar", undefined],
    ["oci", undefined, "oci", undefined],
    ["-", undefined, "-", undefined],
    ["oci:out", "oci", "out", undefined],
    ["oci:/a/out:v1", "oci", "/a/out", "v1"],
    ["oci-archive:a.tar:", "oci-archive", "a.tar", undefined],
    ["docker-archive:a.tar:host:5000/box:1", "docker-archive", "a.tar", "host:5000/box:1"],
  ] as const) {
    it(`is read from ${JSON.stringify(text)}`, () => expect(placeOf("import", text)).to.deep.equal({ transport, path, name }));
  }

  for (const [text, said] of [
    ["docker://debian:12", "skopeo copy docker://debian:12 oci:DIR"],
    ["containers-storage:x", "found containers-storage:"],
    ["oci:", "no path behind oci:"],
    ["docker-archive::x", "no path behind docker-archive:"],
  ] as const) {
    it(`is refused from ${JSON.stringify(text)}`, () => expect(() => placeOf("import", text)).to.throw(UsageError, said));
  }
});
