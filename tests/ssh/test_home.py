"""A login to a namespace node does not live in the home of this machine's root."""


def test_a_login_has_a_home_of_its_own_that_ends_with_the_node(place):
    """So it reads no start-up file of this machine's, and leaves nothing in root's home."""
    request = place.fulfilled("small")
    (node,) = request["nodes"]

    done = place.ssh(
        node, place.known_hosts(node), "echo $HOME ~; touch ~/left; ls -A ~; stat -c '%a %U' ~"
    )

    want = ["/run/node/home", "/run/node/home", "left", "700", "root"]
    assert want == done.stdout.split(), done.stderr
    place.release(request)
