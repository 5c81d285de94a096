import { expect } from "chai";
import { NOTE, Journal } from "../../lib/supervised/journal.js";
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
