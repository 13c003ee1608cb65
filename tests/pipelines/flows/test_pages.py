import httpx
import pytest

from pipelines.flows import pages


def test_a_page_is_served_by_name_and_nothing_else_is(tmp_path):
    (tmp_path / "report.html").write_text("<p>Gesichter ü</p>", encoding="utf-8")
    (tmp_path / "secret.html").write_text("no")
    listed = {"report.html": tmp_path / "report.html", "not-made-yet.html": tmp_path / "not-made-yet.html"}
    with pages.served(listed) as url, httpx.Client() as client:
        assert url.startswith("http://127.0.0.1:")
        assert client.get(f"{url}/report.html").text == "<p>Gesichter ü</p>"
        for other in ("secret.html", "not-made-yet.html", "", "%2e%2e/secret.html", "/etc/passwd"):
            assert client.get(f"{url}/{other}").status_code == 404
        for host in ("attacker.example", "127.0.0.1.attacker.example:80", ""):
            assert client.get(f"{url}/report.html", headers={"Host": host}).status_code == 400
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/report.html")
