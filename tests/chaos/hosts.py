"""Servers in network namespaces of their own, on one bridge: what the programs of this folder have in common."""
import re, socket, subprocess, time

BEGIN = time.monotonic()


def say(text):
    print(f"{time.monotonic() - BEGIN:6.1f} s  {text}", flush=True)


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr.strip()}")


def network(address, mine):
    """A namespace for each name, with its address; who runs this has `mine`."""
    sh(f"ip link set lo up && ip link add br0 type bridge && ip addr add {mine}/16 dev br0 && ip link set br0 up")
    for name, ip in address.items():
        sh(f"ip netns add {name} && ip link add v{name} type veth peer name eth0 netns {name} && "
           f"ip link set v{name} master br0 up && ip -n {name} addr add {ip}/16 dev eth0 && "
           f"ip -n {name} link set eth0 up && ip -n {name} link set lo up")


def start(name, program, conf, log):
    """The server in its namespace; what nsenter starts is the server itself."""
    out = open(log, "ab")
    return subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", program, conf], stdout=out, stderr=out, start_new_session=True)


def mode(ip):
    """What the coordinator there says it is; empty if it says nothing."""
    try:
        with socket.create_connection((ip, 2181), 1) as s:
            s.settimeout(2)
            s.sendall(b"srvr")
            text = b""
            while part := s.recv(4096):
                text += part
    except OSError:
        return ""
    found = re.search(rb"Mode: (\w+)", text)
    return found.group(1).decode() if found else ""
