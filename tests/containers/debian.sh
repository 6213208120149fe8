#!/bin/sh
# Images for tests/services_real/test_real_containers.py from Debian packages, where an engine is
# reachable and no registry is. Needs mmdebstrap and a mirror of Debian; run it from the root of a
# checkout, then type the lines it prints:
#
#   eval "$(tests/containers/debian.sh)"
#
# Wheels for the build are put into services/wheels, made for Debian's Python.
set -eu
suite=${1:-bookworm}

root() { # IMAGE PACKAGES: a minimal system with some packages
    mmdebstrap --quiet --variant=minbase --include="$2" "$suite" - | docker import - "$1" >&2
}

root aiopslab-test/python:debian python3,python3-venv,ca-certificates
root aiopslab-test/stores:bare postgresql,redis-server
docker build --tag aiopslab-test/stores:debian - >&2 <<'DOCKERFILE'
FROM aiopslab-test/stores:bare
RUN ln -s redis-server /usr/bin/valkey-server \
 && printf '%s\n' '#!/bin/sh' 'set -e' \
      '[ "$1" = postgres ] || exec "$@"' \
      'PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; data=/var/lib/postgresql/data' \
      'install -d -o postgres -m 700 $data' \
      'echo "$POSTGRES_PASSWORD" | install -o postgres -m 600 /dev/stdin /run/password' \
      'as="setpriv --reuid postgres --regid postgres --init-groups"' \
      '$as initdb --pgdata $data --auth scram-sha-256 --pwfile /run/password --encoding UTF8' \
      'echo host all all all scram-sha-256 >>$data/pg_hba.conf' \
      'shift; exec $as postgres -D $data -c listen_addresses=* -c unix_socket_directories= "$@"' \
      >/usr/local/bin/entrypoint && chmod 755 /usr/local/bin/entrypoint
ENTRYPOINT ["/usr/local/bin/entrypoint"]
DOCKERFILE

python3 -m pip download --quiet --dest services/wheels --constraint constraints.txt \
    --requirement services/requirements.txt async-timeout >&2
cat <<'LINES'
export AIOPSLAB_TEST_BASE=aiopslab-test/python:debian
export AIOPSLAB_TEST_POSTGRES=aiopslab-test/stores:debian
export AIOPSLAB_TEST_VALKEY=aiopslab-test/stores:debian
export AIOPSLAB_TEST_PIP_ARGS="--no-index --find-links /build/wheels"
LINES
