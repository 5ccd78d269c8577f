"""What a run folder remembers of the settings of its run."""

import json

from ssd_keras.training import RunSettings


def test_settings_are_stored_as_json_gives_them_back():
    settings = RunSettings("SSD_MobileNet_96", "shapes#train", freeze=("backbone",))
    stored = settings.as_stored()
    assert json.loads(json.dumps(stored)) == stored
    assert (stored["model"], stored["freeze"]) == ("SSD_MobileNet_96", ["backbone"])
    assert stored["recipe"]["batch_size"] == settings.recipe.batch_size


def test_runs_of_before_losses_could_be_accepted_go_on():
    assert "accept_losses" not in RunSettings("SSD_MobileNet_96", "shapes#train").as_stored()
    knowingly = RunSettings("SSD_MobileNet_96", "shapes#train", accept_losses=True)
    assert knowingly.as_stored()["accept_losses"] is True
