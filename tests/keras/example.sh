#!/usr/bin/env bash
# The example as its README tells it: compile each form of the network, build main.c, recognise digits.
#
#   example.sh TENON              the 100 digits of examples/mnist
#   example.sh TENON --full       the 10,000 test images of MNIST, fetched
set -euo pipefail

tenon=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
example=$root/examples/mnist
images=$example/digits-images labels=$example/digits-labels wanted="100 of 100 digits right"
if [[ ${2:-} == --full ]]; then
  { read -r images && read -r labels; } < <("$root/scripts/fetch" mnist_t10k_images mnist_t10k_labels)
  wanted="9806 of 10000 digits right"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
passed=0 failed=0
for model in mnist.h5 mnist.keras mnist.json; do
  if "$tenon" compile "$example/$model" -o mnist.so --quiet &&
    cc -std=c17 -O2 -Wall -Wextra -Wpedantic -Werror -I. "$example/main.c" ./mnist.so -Wl,-rpath,. -o mnist &&
    ./mnist "$images" "$labels" >said && grep -q "^$wanted" said; then
    passed=$((passed + 1))
  else
    echo "FAIL $model: $(tail -n 1 said 2>/dev/null)"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
