"""Product texts of the demo catalogue, whose words carry style, material, occasion and mood."""

import itertools
import re
from typing import NamedTuple

import numpy as np

# Every value has three words of its own.
WORDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "style": (
        ("nordic", "scandinavian", "pared"),
        ("baroque", "ornate", "gilded"),
        ("industrial", "workshop", "raw"),
        ("zen", "minimal", "sparse"),
        ("retro", "seventies", "vintage"),
        ("rustic", "farmhouse", "country"),
        ("futurist", "sleek", "orbital"),
        ("bohemian", "fringed", "nomad"),
        ("gothic", "pointed", "cathedral"),
        ("tropical", "palm", "lagoon"),
        ("nautical", "marine", "sailor"),
        ("geometric", "cubist", "angular"),
    ),
    "material": (
        ("linen", "flax", "undyed"),
        ("oak", "timber", "grain"),
        ("steel", "brushed", "rivets"),
        ("ceramic", "stoneware", "glaze"),
        ("leather", "saddle", "tanned"),
        ("wool", "knitted", "yarn"),
        ("glass", "blown", "crystal"),
        ("bamboo", "cane", "woven"),
    ),
    "occasion": (
        ("picnic", "meadow", "hamper"),
        ("wedding", "ceremony", "bridal"),
        ("office", "desk", "meeting"),
        ("camping", "tent", "trail"),
        ("dinner", "candlelight", "banquet"),
        ("nursery", "toddler", "playroom"),
    ),
    "mood": (
        ("calm", "serene", "hushed"),
        ("playful", "cheeky", "bouncy"),
        ("dramatic", "bold", "stormy"),
        ("cosy", "snug", "fireside"),
        ("romantic", "tender", "dreamy"),
        ("austere", "stern", "sober"),
    ),
}
TEXT_SIZES = {attribute: len(values) for attribute, values in WORDS.items()}

# The same values in the languages of the texts that are not English, in the same order.
TRANSLATIONS: dict[str, dict[str, str]] = {
    "de": {
        "style": "nordisch barock industriell schlicht nostalgisch rustikal futuristisch verspielt "
        "gotisch tropisch maritim geometrisch",
        "material": "Leinen Eiche Stahl Keramik Leder Wolle Glas Bambus",
        "occasion": "Picknick Hochzeit Büro Zelten Abendessen Kinderzimmer",
        "mood": "ruhig fröhlich dramatisch gemütlich romantisch streng",
    },
    "fr": {
        "style": "nordique baroque industriel épuré rétro champêtre futuriste bohème "
        "gothique tropical marin géométrique",
        "material": "lin chêne acier céramique cuir laine verre rotin",
        "occasion": "pique-nique mariage bureau bivouac dîner crèche",
        "mood": "calme espiègle dramatique douillet romantique austère",
    },
    "ja": {
        "style": "北欧風 豪華 工業風 禅 昭和風 民芸 未来的 遊牧風 教会風 南国風 船乗り風 幾何学的",
        "material": "亜麻 樫 鋼 陶器 革 羊毛 硝子 竹",
        "occasion": "行楽 結婚式 仕事 野営 晩餐 子供部屋",
        "mood": "静か 愉快 劇的 暖か 可憐 厳格",
    },
}

# {0}, {1} and {2} are the words of one value in any order. Style gets most: it matters most.
SENTENCES: dict[str, tuple[str, ...]] = {
    "style": (
        "A {0} design, {1} and {2}.",
        "The look is {0}, {1} and {2}.",
    ),
    "material": (
        "Made of {0} and {1}.",
        "All {0} and {1}.",
    ),
    "occasion": (
        "For the {0}.",
        "Ready for a {0}.",
    ),
    "mood": (
        "It feels {0}.",
        "A {0} companion.",
    ),
}
LONG_SENTENCES: dict[str, str] = {
    "style": "Seen closely the {0} outline is {1} and every corner of it stays {2} on purpose.",
    "material": "We chose {0} over anything else and kept the {1} touch and {2} character of it.",
    "occasion": "Take it to the {0} or think of a {1} or a {2} and it will be in its place.",
    "mood": "People who live with it call it {0} and {1} and in the evening even {2}.",
}
TITLE = "{style} {material} piece"
FOREIGN: dict[str, tuple[str, str]] = {
    "de": (
        "{mood}es Stück aus {material}",
        "Gefertigt aus {material}, {style} gestaltet. Gedacht für {occasion}. Wirkung: {mood}.",
    ),
    "fr": (
        "Pièce en {material}",
        "Une pièce en {material}, au style {style}, pensée pour {occasion}. Esprit {mood}.",
    ),
    "ja": (
        "{material}の品",
        "{material}の品です。意匠は{style}、{occasion}に合います。雰囲気は{mood}。",
    ),
}


class ProductText(NamedTuple):
    """Title and description of one item."""

    title: str
    description: str


def write_text(
    codes: tuple[int, ...], *, language: str, long: bool, rng: np.random.Generator
) -> ProductText:
    """Write the title and the description of one item.

    Args:
        codes: Index of the value of each attribute, in the order of ``WORDS``.
        language: ``en``, ``de``, ``fr`` or ``ja``.
        long: Whether an English description gets a second, longer sentence for each attribute,
            which takes it beyond the 77 tokens at which CLIP's text encoder ends.
        rng: Chooses templates, words and their order.
    """
    if language != "en":
        values = {
            attribute: TRANSLATIONS[language][attribute].split()[code]
            for attribute, code in zip(WORDS, codes, strict=True)
        }
        title, description = (template.format(**values) for template in FOREIGN[language])
        return ProductText(title[0].upper() + title[1:], description)

    chosen = {
        attribute: WORDS[attribute][code] for attribute, code in zip(WORDS, codes, strict=True)
    }
    title = TITLE.format(**{name: words[rng.integers(3)] for name, words in chosen.items()})
    sentences = []
    for attribute, words in chosen.items():
        template = SENTENCES[attribute][rng.integers(len(SENTENCES[attribute]))]
        sentences.append(template.format(*(words[place] for place in rng.permutation(3))))
        if long:
            order = rng.permutation(3)
            sentences.append(LONG_SENTENCES[attribute].format(*(words[place] for place in order)))
    description = " ".join(sentences[place] for place in rng.permutation(len(sentences)))
    return ProductText(title.capitalize(), description)


def demo_corpus() -> list[str]:
    """Every word and every template of the demo texts, from which the tiny tokenizers are built."""
    english = [" ".join(words) for values in WORDS.values() for words in values]
    foreign = [words for table in TRANSLATIONS.values() for words in table.values()]
    templates = [TITLE, *LONG_SENTENCES.values()]
    templates += itertools.chain(*SENTENCES.values(), *FOREIGN.values())
    return english + foreign + [re.sub(r"\{\w+\}", " ", template) for template in templates]
