#!/bin/sh
# Gives every client of the demo's broker a random password of its own, once.
#
#   credentials.sh CLIENT:UID[:SECRET[:SECRET]...] ...
#
# writes below /credentials (a volume)
#   CLIENT/password      readable by user id UID alone
#   CLIENT/SECRET        another random text each, which the broker does not know
#   broker/passwords     salted hashes, for Mosquitto
#   broker/mosquitto_sub name and password for the healthcheck's mosquitto_sub
# When the hashes exist only secrets that are missing are written: restarts keep the rest, and
# what an earlier release made. No password is ever an argument of a program or part of the image or of the repository.
set -eu
umask 077
directory=/credentials
broker_uid=1883

random() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_'
}

# Those that are missing, of the client and user id that come first.
secrets() {
    for secret in $(printf '%s' "$3" | tr ':' ' '); do
        [ -f "$directory/$1/$secret" ] && continue
        random >"$directory/$1/$secret"
        chmod 0400 "$directory/$1/$secret"
        chown "$2:$2" "$directory/$1/$secret"
    done
}

if [ -f "$directory/broker/passwords" ]; then
    for client in "$@"; do
        IFS=: read -r name uid secrets <<END
$client
END
        secrets "$name" "$uid" "$secrets"
    done
    echo "Credentials exist already."
    exit 0
fi

# What an interrupted run left behind is made anew.
rm -rf "${directory:?}"/*
chmod 0755 "$directory"
mkdir "$directory/broker"
plain="$directory/broker/plain"

for client in "$@"; do
    IFS=: read -r name uid secrets <<END
$client
END
    password=$(random)
    mkdir "$directory/$name"
    printf '%s\n' "$password" >"$directory/$name/password"
    printf '%s:%s\n' "$name" "$password" >>"$plain"
    # In this order: what is another's already may not be changed, root or not.
    chmod 0400 "$directory/$name/password"
    chown -R "$uid:$uid" "$directory/$name"
    secrets "$name" "$uid" "$secrets"
done

password=$(random)
printf '%s:%s\n' health "$password" >>"$plain"
printf -- '-u health\n-P %s\n' "$password" >"$directory/broker/mosquitto_sub"

mosquitto_passwd -U "$plain"
chmod 0400 "$plain" "$directory/broker/mosquitto_sub"
chown -R "$broker_uid:$broker_uid" "$directory/broker"
mv "$plain" "$directory/broker/passwords" # last: it says that everything is there
echo "Made credentials for: $*"
