import { expect } from "chai";
import { ANSWER, checksumOf, ENTRY, head, INTENT, Journal, NODE, NOTE } from "../../lib/supervised/journal.js";
import { remembered } from "../../lib/supervised/recovery.js";
import { native } from "../../lib/sys/binding.js";

describe("the journal", () => {
  const notes = (journal: Journal): string[] => {
    const found: string[] = [];
    journal.replay((record) => found.push(`${record.kind} ${record.text()}`));
    return found;
  };
  const note = (journal: Journal, ...texts: string[]): void => {
    for (const text of texts) {
      journal.record(NOTE);
      journal.text(text);
    }
  };
  const write = (fd: number, at: number, ...bytes: number[]): number => native.pwrite(fd, Buffer.from(bytes), 0, bytes.length, at);
  let opened: Journal[];
  const create = (): Journal => {
    const journal = Journal.create("stratafs-test");
    opened.push(journal);
    return journal;
  };
  beforeEach(() => void (opened = []));
  afterEach(() => {
    for (const { fd } of opened) native.close(fd);
  });

  it("gives back what was committed, in its order, to whoever opens it", () => {
    const journal = create();
    note(journal, "one", "\xff\x80 latin1", "");
    journal.commit();
    note(journal, "three");
    journal.commit();
    journal.job = "überall";
    const other = Journal.open(journal.fd);
    expect(notes(other)).to.deep.equal([`${NOTE} one`, `${NOTE} \xff\x80 latin1`, `${NOTE} `, `${NOTE} three`]);
    expect(other.job).to.equal("überall");
  });

  it("shows nothing of a group that was not committed", () => {
    const journal = create();
    note(journal, "whole");
    journal.commit();
    note(journal, "begun");
    expect(notes(Journal.open(journal.fd))).to.deep.equal([`${NOTE} whole`]);
  });

  it("is replaced in one step when it is written anew", () => {
    const journal = create();
    note(journal, "old");
    journal.commit();
    journal.rewrite(() => {
      note(journal, "new");
      journal.commit();
      expect(notes(Journal.open(journal.fd))).to.deep.equal([`${NOTE} old`]);
    });
    note(journal, "newer");
    journal.commit();
    expect(notes(Journal.open(journal.fd))).to.deep.equal([`${NOTE} new`, `${NOTE} newer`]);
    for (let i = 0; i < 3; i++) journal.rewrite(() => note(journal, String(i)));
    expect(notes(Journal.open(journal.fd))).to.deep.equal([`${NOTE} 2`]);
  });

  it("says when it is long, and is short again when it is written anew", () => {
    const journal = create();
    const long = "x".repeat(1 << 20);
    for (let i = 0; i < 5; i++) {
      note(journal, long);
      journal.commit();
    }
    expect(journal.isLong).to.equal(true);
    journal.rewrite(() => note(journal, "short"));
    expect(journal.isLong).to.equal(false);
  });

  it("refuses more than it has room for, and keeps what it had", () => {
    const journal = create();
    const mebibytes = Buffer.alloc(64 << 20);
    note(journal, "first");
    journal.commit();
    expect(() => {
      for (let i = 0; i < 5; i++) {
        journal.record(NOTE);
        journal.bytes(mebibytes, mebibytes.length);
      }
    }).to.throw("ENOMEM");
    expect(notes(Journal.open(journal.fd))).to.deep.equal([`${NOTE} first`]);
  });

  it("refuses what is damaged, what is of another version and what is no journal", () => {
    const journal = create();
    note(journal, "something to damage");
    journal.commit();
    const clean = Buffer.alloc(64);
    // Where the log begins is the format's; the text is found by itself.
    for (let at = 0; ; at += 4096) {
      native.pread(journal.fd, clean, 0, clean.length, at);
      const text = clean.indexOf("something");
      if (text < 0) continue;
      write(journal.fd, at + text, 0x53);
      break;
    }
    expect(() => notes(Journal.open(journal.fd))).to.throw("EIO");
    write(journal.fd, 8, 99);
    expect(() => Journal.open(journal.fd)).to.throw("of version 99");
    write(journal.fd, 0, 0);
    expect(() => Journal.open(journal.fd)).to.throw("is none");
  });

  it("refuses a head that points out of the log, and a file that ends before the log does", () => {
    const journal = create();
    const before = Buffer.alloc(64);
    native.pread(journal.fd, before, 0, before.length, 0);
    for (const [at, value] of [[head.tail, -8], [head.tail, 7], [head.tail, 1e12], [head.tail, NaN], [head.jobLength, 1e9], [head.programLength, NaN]] as const) {
      write(journal.fd, at, ...Buffer.from(Float64Array.of(value).buffer));
      expect(() => Journal.open(journal.fd), `${value} at ${at}`).to.throw("is damaged at its head");
      write(journal.fd, at, ...Buffer.alloc(8));
    }
    for (const half of [[2, 0, 0, 0], [255, 255, 255, 255]]) {
      write(journal.fd, head.half, ...half);
      expect(() => Journal.open(journal.fd)).to.throw("is damaged at its head");
    }
    const short = native.memfd("stratafs-test", 4096);
    write(short, 0, ...before);
    expect(() => Journal.open(short)).to.throw("is none");
    native.close(short);
  });

  it("refuses a record that would be read for ever", () => {
    const journal = create();
    const group = Int32Array.of(16, 0, 0, NOTE);
    group[1] = checksumOf(group, 0, 16);
    write(journal.fd, head.log[0], ...Buffer.from(group.buffer));
    write(journal.fd, head.tail, ...Buffer.from(Float64Array.of(16).buffer));
    expect(() => notes(Journal.open(journal.fd))).to.throw("is damaged at byte 8");
  });

  /** Numbers and texts of one record; what nobody writes. */
  const malformed: readonly (readonly [what: string, kind: number, ...fields: (number | string)[]])[] = [
    ["a name that leads elsewhere", NODE, 2, 10, 1, 1, "../../etc"],
    ["an empty name", NODE, 2, 10, 1, 1, ""],
    ["more names than there is room for", NODE, 2, 10, 2 ** 40],
    ["a name longer than the record", NODE, 2, 10, 1, 1, 2 ** 30],
    ["a number of an object that is no whole one", NODE, 2.5, 10, 0],
    ["an object without names that nothing finds", NODE, 2, 10, 0],
    ["an object without names that has no path", NODE, 2, 10, 0, 1, 1, -1, 1],
    ["an object without names that is half a copy", NODE, 2, 10, 0, 1, 1, -1, 1, "path", 2],
    ["a nodeid that is no number", ENTRY, NaN, 1, 1, 0, 0, 0],
    ["a record that ends early", ENTRY, 2, 1],
    ["an answer shorter than its head", ANSWER, "short", 0],
    ["an intent of another kind", INTENT, "1 2", "format", 1, "file"],
    ["an intent that leads elsewhere", INTENT, "1 2", "remove", 1, "..", 0, 0],
    ["an intent that ends early", INTENT, "1 2", "rename", 1, "file", 0, 0],
    ["a record of no kind", 77],
  ];
  for (const [what, kind, ...fields] of malformed) {
    it(`is refused with ${what}`, () => {
      const journal = create();
      journal.record(kind);
      for (const field of fields) typeof field === "number" ? journal.number(field) : journal.text(field);
      journal.commit();
      expect(() => remembered(Journal.open(journal.fd))).to.throw("EIO: journal");
    });
  }

  it("lists the descriptors that are to be kept", () => {
    const journal = create();
    for (const fd of [70_000, 9, 16]) journal.keep(fd);
    journal.drop(16);
    expect(journal.keptDescriptors().filter((fd) => fd !== journal.fd)).to.deep.equal([9, 70_000]);
    expect(() => journal.keep(1 << 24)).to.throw("EMFILE");
  });

  it("counts the deaths in one request, and the attempts of servers that answer nothing", () => {
    const journal = create();
    for (const strikes of [1, 2, 3]) {
      journal.serving(7, 8);
      journal.begin(1);
      expect(journal.strikes, "in a row").to.equal(strikes);
    }
    expect(journal.dying).to.deep.equal([7, 8]);
    expect(journal.attempts).to.equal(3);
    journal.succeeded();
    journal.serving(9, 8);
    journal.begin(1);
    expect([journal.strikes, journal.attempts, journal.generation]).to.deep.equal([1, 1, 4]);
  });
});
