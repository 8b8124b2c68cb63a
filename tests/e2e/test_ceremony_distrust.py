"""Officers are distrusted, on a site with a few epochs; the acceptance test takes ten thousand."""

from pathlib import Path

from kms.practice import PracticeSite
from tests.scenarios import distrust

EPOCHS = 8


def test_nothing_but_the_new_shares_opens_what_is_escrowed(
    practice_site: PracticeSite, tmp_path: Path
) -> None:
    report = distrust.run(practice_site, EPOCHS, tmp_path)
    assert report.epochs == report.rewrapped == report.covered == EPOCHS
    assert report.generations == [2]
    assert set(report.old_key) == {"trusted by the token", "wrapped to as any key"}
    assert "Conclusion: everything holds." in report.verified
    assert report.minted
