# A program of forty files, built again and again: build.sh DIRECTORY STOP. Ends with 0 when STOP is there; every build must do what the last did.
set -eu
mkdir -p "$1"; cd "$1"
for i in $(seq 40); do
  printf '#include "all.h"\n#include <stdio.h>\nint f%s(int x) { char b[64]; return x + %s + 0 * snprintf(b, sizeof b, "%%d", x); }\n' "$i" "$i" > "f$i.c"
done
{ echo "#pragma once"; for i in $(seq 40); do echo "int f$i(int);"; done; } > all.h
{ printf '#include "all.h"\n#include <stdio.h>\nint main(void) { int x = 0;\n'; for i in $(seq 40); do echo "x = f$i(x);"; done; printf '%s\n' 'printf("%d\n", x); return 0; }'; } > main.c
printf 'OBJECTS := $(patsubst %%.c,%%.o,$(wildcard *.c))\nprogram: $(OBJECTS)\n\tgcc -o $@ $^\n%%.o: %%.c all.h\n\tgcc -O1 -c -o $@ $<\nclean:\n\trm -f *.o program\n' > Makefile
builds=0
while [ ! -e "$2" ]; do
  make -s -j2 program
  [ "$(./program)" = 820 ]
  make -s -q program
  make -s clean
  [ "$(ls | wc -l)" = 43 ]
  rm -rf copy; cp -r . ../copy-of-build; mv ../copy-of-build copy; [ "$(cat copy/*.c | cksum)" = "$(cat *.c | cksum)" ]; rm -r copy
  builds=$((builds + 1))
done
echo "$builds builds"
