"""Models are found by name, by folder, and in the folders of the environment."""

import pytest

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.models import registry
from nmsynth.models.package import CARD_FILE, WEIGHTS_FILE
from tests.models.packages import save_tiny


@pytest.fixture
def user_models(tmp_path, monkeypatch):
    """Folder of user models with one named ``tiny``, and no shipped model."""
    monkeypatch.setattr(registry, "SHIPPED_MODELS", tmp_path / "shipped")
    monkeypatch.setenv(registry.MODELS_VARIABLE, str(tmp_path / "user"))
    save_tiny(tmp_path / "user")
    return tmp_path / "user"


def test_a_user_model_is_listed_shown_and_verified(user_models):
    (entry,) = registry.list_models()
    assert (entry.name, entry.shipped, entry.problem) == ("tiny", False, None)
    assert registry.show_model("tiny") == registry.verify_model("tiny") == entry.card
    assert registry.show_model(user_models / "tiny") == registry.show_model(str(user_models / "tiny")) == entry.card


def test_the_variable_may_name_a_package_itself(user_models, monkeypatch):
    monkeypatch.setenv(registry.MODELS_VARIABLE, str(user_models / "tiny"))
    assert [entry.name for entry in registry.list_models()] == ["tiny"]


def test_an_unknown_name_gets_the_nearest(user_models):
    with pytest.raises(InputError, match=r"no model named tinny\. Known: tiny"):
        registry.find_model("tinny")


def test_without_models_the_message_says_how_to_add_one(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "SHIPPED_MODELS", tmp_path / "shipped")
    monkeypatch.delenv(registry.MODELS_VARIABLE, raising=False)
    with pytest.raises(InputError, match="None is installed; set NMSYNTH_MODELS"):
        registry.find_model("tiny")


@pytest.mark.parametrize("name", ["../tiny", "/nowhere/tiny", "a\nb"])
def test_a_path_that_is_not_there_is_a_mistake(user_models, name):
    with pytest.raises(InputError, match="does not exist"):
        registry.find_model(name)


def test_a_shipped_model_cannot_be_replaced_by_a_users(user_models):
    shipped = save_tiny(user_models.parent / "shipped", version="9.0.0").parent
    assert shipped == registry.SHIPPED_MODELS
    (entry,) = registry.list_models()
    assert entry.shipped
    assert entry.card is not None
    assert entry.card.version == "9.0.0"


def test_a_damaged_card_is_listed_with_its_problem(user_models):
    (user_models / "tiny" / CARD_FILE).write_text("{}")
    (entry,) = registry.list_models()
    assert entry.card is None
    assert "does not hold" in str(entry.problem)


def test_verify_finds_changed_weights_that_show_does_not_open(user_models):
    (user_models / "tiny" / WEIGHTS_FILE).write_bytes(b"\x10" + bytes(7) + b"{" + bytes(100))
    registry.show_model("tiny")
    with pytest.raises(UnsafeInputError, match="sha256"):
        registry.verify_model("tiny")
