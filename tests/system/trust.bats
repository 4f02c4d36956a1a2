#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# trust.bats - Invitations, strangers, and whatever else can come in through the port

setup_file() {
	. tests/system/lib.bash
	system_up root 3
}

teardown_file() {
	. tests/system/lib.bash
	system_down
}

setup() {
	. tests/system/lib.bash
}

teardown() {
	test_over
}

invite() {
	as hosta "$BIN/mproxy" --state "$STATE" --invite "$(host_address hosta):$PORT"
}

# log_grows HOST REGEX COMMAND... - the command makes one more such line
count_log() {
	grep -cE "$2" "$(log_of "$1")" || true
}

more_in_log() {
	[ "$(count_log "$1" "$2")" -gt "$3" ]
}

# port_python CODE - in hostc, s is a socket that is connected to hosta's port
port_python() {
	on hostc timeout -k 5 60 /usr/bin/python3 -c "import os, socket, ssl, sys
s = socket.create_connection(('10.77.0.1', $PORT), 20)
s.settimeout(30)
$1"
}

# Nobody is harmed: a pinned peer is still served
still_serves() {
	start_program hosta "$BIN/victims/v_hello" && goes_on && mm hosta why "$P" hostb && say stop && ended_with "exit 0"
}

@test "both know each other, by the names that were given" {
	for host in hosta hostb hostc; do
		run mm $host peers
		[ "$status" = 0 ]
		echo "$host: $output"
		[ "$(grep -cE 'host[abc]' <<<"$output")" -ge 2 ]
	done
}

@test "an invitation works once" {
	token=$(invite)
	[[ $token == mm1.* ]]
	mm hostb -q trust hosta "$token"
	n=$(count_log hosta E_INVITE_BAD)
	run mm hostc trust hosta "$token"
	echo "$output"
	[ "$status" = 1 ]
	until_true more_in_log hosta E_INVITE_BAD "$n"
}

@test "an invitation ends after ten minutes" {
	token=$(invite)
	# the machine's clock stays what it is: the pending invitation is made old instead
	on hosta sh -c 'cd "$0/invites" && ls && for f in *; do sed -i "s/[0-9]\{10,\}/1000000000/g" "$f"; done && head *' "$STATE"
	n=$(count_log hosta E_INVITE_BAD)
	run mm hostb trust hosta "$token"
	echo "$output"
	[ "$status" = 1 ]
	until_true more_in_log hosta E_INVITE_BAD "$n"
}

@test "an invitation with another secret" {
	token=$(invite)
	run mm hostb trust hosta "${token:0:60}AAAA${token:64}"
	echo "$output"
	[ "$status" = 1 ]
	run mm hostb trust hosta "${token:0:40}"
	[ "$status" = 1 ]
	run mm hostb trust hosta mm1.
	[ "$status" = 1 ]
}

@test "an identity that is none, a name that is none" {
	run mm hostb trust x "10.77.0.1:$PORT" 1234
	[ "$status" = 1 ]
	run mm hostb trust ../x "10.77.0.1:$PORT" "$(printf 'a%.0s' {1..64})"
	[ "$status" = 1 ]
	run mm hostb trust x nonsense:99999 "$(printf 'a%.0s' {1..64})"
	[ "$status" = 1 ]
}

@test "no TLS: the connection is closed, without a byte" {
	n=$(count_log hosta '<[0-4]>.*')
	run port_python "
s.sendall(b'GET / HTTP/1.0\r\n\r\n')
data = b''
try:
    while True:
        more = s.recv(1000)
        if not more: break
        data += more
except ConnectionResetError: pass
# a TLS alert is all there may be
print('closed after', len(data)); sys.exit(len(data) > 20)"
	echo "$output"
	[ "$status" = 0 ]
	until_true more_in_log hosta '<[0-4]>.*' "$n"
	still_serves
}

@test "garbage, and connections that say nothing" {
	port_python "
for n in (1, 5, 100, 70000):
    t = socket.create_connection(('10.77.0.1', $PORT), 20)
    try: t.sendall(os.urandom(n))
    except OSError: pass
    t.close()
silent = [socket.create_connection(('10.77.0.1', $PORT), 20) for _ in range(20)]"
	still_serves
}

@test "a stranger's certificate: closed, and one line in the log" {
	on hostc sh -c 'cd /run && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=stranger' 2>&1
	n=$(count_log hosta 'E_PEER_UNKNOWN|E_PEER_TLS')
	run port_python "
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname = False
c.verify_mode = ssl.CERT_NONE
c.load_cert_chain('/run/c.pem', '/run/k.pem')
data = b''
try:
    t = c.wrap_socket(s)
    t.sendall(b'MMPEER01' + b'x' * 300)
    data = t.recv(1000)
except (ssl.SSLError, OSError) as e: print(e)
print('got', data); sys.exit(len(data))"
	echo "$output"
	[ "$status" = 0 ]
	until_true more_in_log hosta 'E_PEER_UNKNOWN|E_PEER_TLS' "$n"
	still_serves
}

@test "no certificate, and TLS 1.2" {
	for version in 'pass' 'c.maximum_version = ssl.TLSVersion.TLSv1_2'; do
		run port_python "
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname = False
c.verify_mode = ssl.CERT_NONE
$version
data = b''
try:
    t = c.wrap_socket(s)
    t.sendall(b'MMPEER01')
    data = t.recv(1000)
except (ssl.SSLError, OSError) as e: print(e)
sys.exit(len(data))"
		echo "$output"
		[ "$status" = 0 ]
	done
	still_serves
}

# A peer that is pinned, hostc with its own key, and breaks the rules behind TLS
pinned_python() {
	port_python "
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname = False
c.verify_mode = ssl.CERT_NONE
c.load_cert_chain('$STATE/identity.pem')
t = c.wrap_socket(s)
t.sendall(b'MMPEER01')
$1"
}

@test "a pinned peer that sends garbage, and half a frame" {
	pinned_python "
try:
    t.sendall(os.urandom(100000))
    while t.recv(10000): pass
except (ssl.SSLError, OSError) as e: print(e)"
	pinned_python "
t.sendall(b'\\1\\0\\0\\0')
t.close()"
	still_serves
}
