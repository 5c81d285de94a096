"""Transactions of two writers on one SQLite database in WAL mode: database.py FILE STOP. Money moves and must never be lost."""
import os, random, sqlite3, sys, threading

path, stop = sys.argv[1:3]
ACCOUNTS, TOTAL = 200, 200 * 1000

def connect():
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("pragma synchronous=normal")
    return db

db = connect()
assert db.execute("pragma journal_mode=wal").fetchone()[0] == "wal"
db.execute("create table if not exists account (id integer primary key, balance integer, note text)")
if db.execute("select count(*) from account").fetchone()[0] == 0:
    db.executemany("insert into account values (?, 1000, ?)", [(i, "x" * random.randrange(500)) for i in range(ACCOUNTS)])

moved = [0, 0]
failures = []

def move(me):
    try:
        mine, rng = connect(), random.Random(me)
        while not os.path.exists(stop):
            a, b, amount = rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS), rng.randrange(50)
            mine.execute("begin immediate")
            mine.execute("update account set balance = balance - ?, note = ? where id = ?", (amount, "y" * rng.randrange(2000), a))
            mine.execute("update account set balance = balance + ? where id = ?", (amount, b))
            mine.execute("rollback" if rng.random() < 0.1 else "commit")
            moved[me] += 1
            if moved[me] % 500 == 0:
                mine.execute("pragma wal_checkpoint(truncate)")
    except Exception as error:
        failures.append(repr(error))

threads = [threading.Thread(target=move, args=(i,)) for i in range(2)]
for thread in threads:
    thread.start()
checks = 0
while any(thread.is_alive() for thread in threads):
    assert db.execute("select sum(balance) from account").fetchone()[0] == TOTAL
    if checks % 20 == 0:
        assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
    checks += 1
    for thread in threads:
        thread.join(0.05)
assert failures == [], failures
assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
assert db.execute("select sum(balance) from account").fetchone()[0] == TOTAL
print(sum(moved), "transactions,", checks, "checks")
