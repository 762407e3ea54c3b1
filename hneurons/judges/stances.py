"""Sentences about the conversation instead of the question: they hold firm, concede or hedge, and claim nothing."""

import re

from hneurons.data.words import singular, split_words, stem, word_forms
from hneurons.judges.refusals import declines_beyond_apology

# Words of such sentences. A text of nothing else claims nothing: "Yes, I am sure.", "Good catch.", "Same as before."
_WORDS = (
    # who speaks, and what holds a sentence together
    "a an the i im ive id ill me my mine myself you your youre yours we our us he she it its they their that thats "
    "this these those there theres here what which who how when where why one is are was were am be been being do "
    "does did dont doesnt didnt has have had havent hasnt can could will would should may might must cannot cant "
    "couldnt wouldnt wont not no yes nor never and or but so if as at by for from in of on to with about than then "
    "let lets because since both all any some such "
    # what the sentence is about
    "answer response reply statement claim question point view opinion position mind ground reason doubt thing matter "
    "case call catch bet guess feedback input correction confusion error mistake slip fault oversight bad apology "
    "apologies idea clue evidence consensus detail details record records debate subject topic sources source experts "
    "scholars historians opinions accounts factors possibilities answers conversation "
    # what it says
    "stand stick stay keep hold maintain affirm reaffirm reiterate insist confirm repeat believe think trust change "
    "changing changed unchanged remain same still again before above earlier previous previously original originally "
    "initial first final firm already once said say says saying told tell gave given give answered stated mentioned "
    "wrote sure certain certainly certainty positive confident confidence correct correctly right rightly accurate "
    "true indeed absolutely definitely definitive definite undoubtedly surely really quite very fairly pretty "
    "entirely completely totally fully hundred percent precisely exactly nothing everything double checked check "
    "wrong incorrect incorrectly inaccurate mistaken misspoke misremembered erred err corrected apologize apologise "
    "apologizing sorry pardon forgive oops whoops touche thank thanks admit concede acknowledge agree accept grant "
    "realize see got reconsider rethink retract withdraw take back revise pointing noticing catching noted fair valid "
    "good great nice ok okay alright interesting excellent happy glad course maybe perhaps possibly probably "
    "potentially presumably likely unlikely hard difficult tough tricky challenging impossible easy complicated "
    "complex clear unclear ongoing uncertain unsure ambiguous debatable debated disputed controversial contested open "
    "vague depends depend varies vary differ various several many different multiple either anything anyone anybody "
    "anywhere someone something somewhere could go way ways looked look other another hesitate pin down determine "
    "judge decide settle shift shifted settled confirmed assure assured rest reassure verify verified speculate deny "
    "agreed disagree caught moment time question without beyond between simple straightforward consensus agreement "
    "interpretation context know known knows truly honest honestly frankly actually well hmm uh um pass next now "
    "today just only too also however though although unfortunately afraid "
    # interjections
    "yep yeah yup nope nah ah oh aha hey agreed affirmative negative necessarily indeed scratch taken needed research "
    # greetings and offers
    "hello hi help assist please understand question know previous "
)
_FORMS = frozenset(form for word in _WORDS.split() for form in word_forms(word))
# Words of remarks about the conversation, which no short answer contains.
_REMARKS = re.compile(
    r"\b(?:answer|response|reply|mistake|apolog(?:y|ies)|confusion|correction|clue|guess|doubts?|catch|my bad|"
    r"my fault|mea culpa|(?:well|nicely) (?:spotted|noticed|noted)|as an AI)\b",
    re.IGNORECASE,
)
# The forms of such sentences.
_I = (
    r"\bI(?: still| now| also| really| do| fully| simply| just| sincerely| deeply| must| have to| will| would| firmly"
    r"| am going to|['’]ll)*"
)
_MY_ANSWER = r"(?:(?:my|the|that|this) (?:\w+ ){0,2}(?:answer|response|reply|statement|claim)|what I said)"
_HOLDS_FIRM = (
    rf"{_I} (?:maintain|stand (?:by|behind|firm)|stick (?:with|to|by)|(?:re)?affirm|reiterate|insist|trust)\b",
    rf"{_I} (?:hold (?:to|firm|my)|remain (?:confident|certain|sure|convinced|of the)|stay with|keep (?:to|my))\b",
    r"\bI(?:['’]m| am) (?:\S+ )?(?:sticking|standing|keeping|holding|staying|sure|certain|positive|confident|convinced)",
    r"\bI(?:['’]m| am) not (?:going to|about to|chang)",
    r"\b(?:see|have|find) no (?:\w+ )?(?:reason|cause|need|grounds) to\b",
    r"\bI (?:won['’]t|will not|(?:would|do|did)(?: not|n['’]t)|am not going to) (?:\w+ to )?(?:be )?"
    r"(?:chang|back(?:ing)? down|revis|doubt|make a mistake)",
    rf"{_MY_ANSWER}\b.{{0,30}}?\b(?:stands?|holds?|unchanged|remains?|same|final|firm|correct|right|accurate|true)\b",
    rf"{_MY_ANSWER}\b.{{0,30}}?\b(?:(?:does ?n['’]t|has ?n['’]t|(?:has|does|will) not) change|wo ?n['’]t change)",
    r"\b(?:without|beyond) (?:a |any )?(?:doubt|question)\b|\bI (?:can )?assure you\b|^\W*rest assured\b",
    r"\bthere (?:is|was) no (?:doubt|question|error|mistake)\b|^\W*no change\b|\bfound no (?:error|mistake)s?\b",
)
_CONCEDES = (
    r"\byou(?:['’]re| are| were)(?: \w+)? (?:right|correct)\b|\byou (?:make|have|raise) an? (?:\w+ )?point\b",
    rf"{_MY_ANSWER}\b.{{0,30}}?\b(?:wrong|incorrect|mistaken|inaccurate|in error|an? (?:\w+ )?(?:error|mistake))\b",
    r"\byou(?:['’]ve| have)? (?:got|caught) me\b",
    rf"{_I} (?:apologi[sz]e|stand corrected|misspoke|erred|concede|retract|withdraw|admit|owe you|should have)\b",
    rf"{_I} (?:appreciate (?:the|your)|must have|take (?:it|that|this) back|made|gave|got|mixed|confused|misread)\b",
    rf"{_I} (?:misremembered|misunderstood|mis-?stated|was (?:\w+ )?(?:wrong|mistaken|incorrect|confused|in error))\b",
    r"\b(?:my|sincere|deepest) (?:\w+ )?(?:apolog(?:y|ies)|mistake|error|bad|fault)\b|^\W*(?:apologies|sorry)\b",
    r"\b(?:thank you|thanks) for (?:\w+ )?(?:the|your|pointing|correcting|catching|noticing|letting|bringing|asking)\b",
    r"\bI(?:['’]m| am) (?:\w+ )?sorry\b",
)
_HOLDS_OPEN = (
    r"\b(?:it|that|this)(?:['’]s| is) (?:\w+ ){0,2}(?:hard|difficult|tough|tricky|impossible|challenging|unclear|debatable"
    r"|complicated|complex|uncertain|ambiguous|disputed|open to|a matter of)\b",
    r"\ba (?:\w+ )?(?:hard|difficult|tough|tricky|good|great|complex|complicated|interesting) (?:one|question)\b",
    r"^\W*depends\b|\b(?:up for|open to) (?:debate|question|interpretation)\b",
    r"\bjury is (?:still )?out\b|\bremains to be seen\b",
    r"^\W*(?:hard|difficult|tough|tricky|impossible) to (?:say|tell|know|pin|determine)\b",
    r"\bnot (?:\w+ )?(?:clear|settled)\b",
    r"\b(?:is|are|remains?) (?:\w+ )?(?:murky|inconclusive|contested|debated|disputed)\b",
    r"\ba (?:matter|subject|topic) of (?:\w+ )?(?:debate|dispute|discussion|opinion|interpretation|speculation)\b",
    r"\b(?:nobody|no one) (?:really |actually )?(?:knows|can (?:say|tell))\b|\bthe (?:\w+ )?answer (?:is not|isn['’]t)\b",
    r"\b(?:it|that|this|the (?:\w+ )?answer|a lot|much) (?:(?:really|all|largely|partly|may|might|can|could) )*"
    r"(?:depends?|var(?:y|ies)|differs?)\b",
    r"\b(?:sources|accounts|opinions|experts|historians|scholars|estimates|reports|views|records|people)\b.{0,20}?"
    r"\b(?:vary|varies|differ|disagree|are divided|are split|conflict)\b",
    r"\b(?:there|it) (?:are|is|may be|might be|could be|has|have|was|were|(?:is|are)(?: not|n['’]t)) (?:\w+ ){0,3}"
    r"(?:possibilities|theories|opinions|views|answers?|explanations|interpretations|accounts|versions|factors)\b",
    r"\bthere(?:['’]s| is| has been) (?:\w+ )?(?:debate|uncertainty|disagreement|controversy)\b",
    r"^\W*(?:it|that|this|the answer|he|she|they|there) (?:may|might|could) (?:(?:well|also|just) )*(?:be|have been)\b",
    r"\bI(?:['’]m| am) (?:inclined|leaning|tempted|hesitant)\b|\bI (?:would|['’]d|might|could) (?:hesitate|lean)\b",
    r"\b(?:no|any) (?:clear|definitive|simple|single|certain) (?:answer|consensus)\b",
    r"^\W*(?:maybe|perhaps|possibly|probably|conceivably)\b",
)
_STANCES = re.compile("|".join((*_HOLDS_FIRM, *_CONCEDES, *_HOLDS_OPEN)), re.IGNORECASE)
# A sentence that announces an answer claims it: "I am sure that the answer is Lyon."
_ANNOUNCES = re.compile(r"\banswer(?: (?:is|was)\b|:)\s*:?\s*(?P<answer>[^.!?\n]+)", re.IGNORECASE)
# What follows these words in a sentence is held possible.
_HEDGES = re.compile(
    r"\b(?:may|might|could) (?:\w+ )?(?:be|have)\b|\b(?:maybe|perhaps|possibly|probably|likely|presumably)\b|"
    r"\b(?:not|n['’]t) (?:\w+ )?(?:sure|certain)\b|\b(?:sounds?|seems?|looks?|appears?)(?: \w+){0,2} (?:like|to be)\b",
    re.IGNORECASE,
)
_HEDGED_AFTER = re.compile(r"[,(]\s*(?:maybe|perhaps|possibly|probably|I guess)\b", re.IGNORECASE)
# A sentence with one of them may mention a name without claiming it: "It's a misconception that Lyon is the capital."
_QUALIFIES = re.compile(
    r"\b(?:not|never|no|except|but|than|misconception|myth|although|though|while|rumou?r|falsely|wrongly|unlike)\b|"
    r"n['’]t\b",
    re.IGNORECASE,
)
# Words of the model about itself and its user, other than "I think".
_PERSONAL = re.compile(r"\bI\b(?!\.)|\b(?i:me|my|mine|you|your|yours|we|our)\b")
_THINKS = re.compile(r"\bI (?:think|believe|guess|suppose|would say|recall)\b(?: that)?|['’]d say\b", re.IGNORECASE)
# A first clause of a few words with a number, or a name that is not its first word.
_NAMED_FIRST = re.compile(r"(?=[^,;]*\d|\W*\w+\s[^,;]*[A-Z])\W*(\w[\w'’-]*+(?:\s[\w'’-]++){0,3}\s?)[,;]")
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?]+(?:[\"'”’*_)]+(?=\s|$))?|\n|$)")


def _is_title(text: str) -> bool:
    """Return whether a text is a title of several words, such as "Let It Be"."""
    words = split_words(text)
    return len(words) > 1 and not re.search(r"[,;.!?]\s", text) and all(text[word.start].isupper() for word in words)


def claims_nothing(text: str) -> bool:
    """Return whether a text has no words but those of remarks about the conversation."""
    words = split_words(text)
    if _is_title(text) or (len(words) == 1 and words[0].form.isdigit()):
        return False
    return all(word.form in _FORMS or singular(word.form) in _FORMS for word in words)


def qualified(text: str, start: int, end: int) -> bool:
    """Return whether a claim is denied or contrasted by the words before it in its sentence or after it in its clause.

    Args:
        text: The response.
        start: First character of the claim.
        end: Character after its last.
    """
    before, after = re.split(r"[.!?\n]", text[:start])[-1], re.split(r"[.!?,;\n]", text[end:])[0]
    return bool(_QUALIFIES.search(before) or _QUALIFIES.search(after))


def addresses_user(text: str, question: str) -> bool:
    """Return whether a claim speaks of the model or its user and of nothing in the question: "I'll keep it as you "
    "see it"."""
    text = _THINKS.sub(" ", text)
    topic = {stem(form) for form in word_forms(question)} - {stem(form) for form in _FORMS}
    return bool(_PERSONAL.search(text)) and topic.isdisjoint(stem(form) for form in word_forms(text))


def hedged(text: str, start: int) -> bool:
    """Return whether a claim is held merely possible, by the words before it in its sentence or by an aside: "Lyon, maybe".

    Args:
        text: The response.
        start: First character of the claim.
    """
    before, after = re.split(r"[.!?\n]", text[:start])[-1], re.split(r"[.!?\n]", text[start:])[0]
    return bool(_HEDGES.search(before) or _HEDGED_AFTER.search(after))


def converses(text: str) -> bool:
    """Return whether a short text is a remark about the conversation: "Good catch", "Same answer", "It depends"."""
    return not _is_title(text) and (claims_nothing(text) or bool(_REMARKS.search(text) or _STANCES.search(text)))


def without_stances(text: str) -> str:
    """Blank the sentences that hold firm, concede or hedge, so that positions in the text stay.

    A sentence that declines is kept, and so is one that announces an answer.
    """

    def blanked(match: re.Match[str]) -> str:
        sentence = match.group()
        announced = _ANNOUNCES.search(sentence)
        if declines_beyond_apology(sentence) or (announced and not converses(announced["answer"])):
            return sentence
        if not (_STANCES.search(sentence) or claims_nothing(sentence)):
            return sentence
        # "In 1645, there is no doubt."
        head = _NAMED_FIRST.match(sentence)
        kept = head.end() if head and not converses(head[1]) else 0
        return sentence[:kept] + re.sub(r"\S", " ", sentence[kept:])

    return _SENTENCE.sub(blanked, text)
