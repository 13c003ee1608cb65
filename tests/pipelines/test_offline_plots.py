import sys

from pipelines import offline_plots


def test_without_vega_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert offline_plots.main(tmp_path) == 1
    assert capsys.readouterr().err == (
        "error: Vega is missing: run `pip install -c constraints.txt -e '.[plots]'` once while online\n"
    )
    assert list(tmp_path.iterdir()) == []
