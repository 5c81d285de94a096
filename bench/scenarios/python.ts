/** Starting an interpreter whose library lies in the layers. */
import { join } from "node:path";
import { inBoth } from "./goals.js";
import { expect, type Cell, type Measured, type Scenario } from "./scenario.js";

const MODULES =
  "asyncio, argparse, ast, bz2, calendar, cgi, cmd, code, codecs, collections, concurrent.futures, configparser, contextlib, copy, csv, dataclasses, datetime, decimal, difflib, dis, email.message, email.mime.text, enum, filecmp, fileinput, fractions, ftplib, functools, getpass, gettext, glob, gzip, hashlib, heapq, html.parser, http.client, http.cookies, http.server, imaplib, importlib.metadata, inspect, io, ipaddress, json, locale, logging.config, logging.handlers, mailbox, mimetypes, multiprocessing.pool, netrc, nntplib, optparse, pathlib, pdb, pickle, pickletools, pkgutil, platform, plistlib, poplib, pprint, profile, pstats, pydoc, queue, random, reprlib, sched, secrets, selectors, shelve, shlex, shutil, smtplib, socketserver, sqlite3, ssl, statistics, string, subprocess, tarfile, tempfile, textwrap, timeit, trace, tracemalloc, typing, unittest.mock, urllib.request, uuid, venv, warnings, wave, weakref, webbrowser, wsgiref.simple_server, xml.dom.minidom, xml.etree.ElementTree, xmlrpc.client, zipapp, zipfile, zoneinfo";

/** Modules that this machine's python3 does not have are left out, the same ones for every subject. */
const SCRIPT = `
import importlib, sys
for name in sys.argv[2].split(", "):
    try: importlib.import_module(name)
    except ImportError: pass
print(sum(1 for m in list(sys.modules.values()) if (getattr(m, "__file__", None) or "").startswith(sys.argv[1])))
`;

const start = (cell: Cell): Measured => {
  const library = join(cell.root, "python");
  const { ms, output } = cell.command(["python3", "-W", "ignore", "-S", "-B", "-c", SCRIPT, library, cell.sizes.modules || MODULES], { environment: { PYTHONPATH: library } });
  return { value: ms, operations: 1, output };
};

const base = {
  group: "Real work",
  unit: "ms",
  fixture: "python",
  layered: true,
  needs: ["python3"],
  run: start,
  check(cell: Cell, { output }: Measured) {
    const least = cell.sizes.name === "full" ? 150 : 20;
    expect(`at least ${least} modules came out of the tree`, Number(output) >= least, true);
  },
} as const;

export const pythonCold: Scenario = { ...base, name: "python-cold", about: "python3 starts and imports some 300 modules of its library, nothing cached", cold: true, goals: inBoth(1.3) };

export const pythonWarm: Scenario = {
  ...base,
  name: "python-warm",
  about: "python3 starts again",
  goals: inBoth(1.3),
  setup(cell) {
    start(cell);
  },
};
