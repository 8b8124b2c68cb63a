"""One Chinese word for each term, and Chinese punctuation between Chinese words."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kms

SOURCE = Path(kms.__file__).parent
TEXTS = sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.po")])

OTHER_WORDS = {
    "名单": "名册",
    "接收者": "接收方",
    "密钥期": "密钥周期",
    "下一周期": "下一密钥周期",
    "条记录": "个日志条目",
    "密钥信封": "信封",
    "发放方式": "发放类别",
    "托管密钥": "密钥托管",
    "密钥承诺": "承诺值",
    "擦除证明": "擦除证书",
    "销毁证明": "销毁证书",
    "管理员": "运维员",
    "凭证卡": "凭据卡",
    "本人凭证": "本人凭据",
    "所有人的": "全体人员的",
}
_HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,:;!?]|[,:;!?][\u4e00-\u9fff]")


def chinese() -> Iterator[tuple[str, str]]:
    """Where each line with Chinese in it stands, and the line."""
    for path in TEXTS:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(r"[\u4e00-\u9fff]", line):
                yield f"{path.relative_to(SOURCE)}:{number}", line


@pytest.mark.parametrize("word", OTHER_WORDS)
def test_a_term_has_one_chinese_word(word: str) -> None:
    found = [where for where, line in chinese() if word in line]
    assert not found, f"say {OTHER_WORDS[word]}"


def test_chinese_sentences_have_chinese_punctuation() -> None:
    lines = list(chinese())
    assert lines
    assert not [where for where, line in lines if _HALF_WIDTH.search(line)]
