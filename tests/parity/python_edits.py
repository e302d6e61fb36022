"""What must change in the Python SDK so that it answers as is recommended.

Rows are those of docs/deviations.md, sections those of docs/reference.md.

Each edit is (file, old text, new text), and the old text must be there exactly once. ``PARITY`` is the
object in oracle.py: its ``row(name)`` is asked only where the two answers may part, since it also notes
that the row was met.
"""

from __future__ import annotations

TRACK = "api/track.py"
FEATURE = "api/is_feature_enabled.py"
VARIABLE = "api/get_feature_variable_value.py"
DECIDER = "core/variation_decider.py"
BUCKETER = "core/bucketer.py"
CAMPAIGN = "helpers/campaign_util.py"

EDITS: list[tuple[str, str, str]] = [
    # Row 1.
    (
        TRACK,
        """        if not goal:
            no_campaign_found = True
""",
        """        if not goal and campaign_specifier and PARITY.row("track_all_keys_false"):
            return {campaign_specifier: False}
        if not goal:
            no_campaign_found = True
""",
    ),
    (
        TRACK,
        """    if len(campaign_goal_revenue_prop_list) != 0 and (
""",
        """    if type(campaign_specifier) is list:
        for key in campaign_specifier:
            if key not in ret_value and PARITY.row("track_all_keys_false"):
                ret_value[key] = False

    if len(campaign_goal_revenue_prop_list) != 0 and (
""",
    ),
    # Rows 3 and 14.
    (
        TRACK,
        """        campaign_goal_list = campaign_util.get_campaigns_with_goal_id(campaigns, goal_identifier)[0]
""",
        """        campaign_goal_list = campaign_util.get_campaigns_with_goal_id(campaigns, goal_identifier)[0]
        campaign_goal_list = PARITY.matching(campaign_goal_list, goal_type_to_track)
""",
    ),
    (
        TRACK,
        """        # check if user storage attached if MAB activated for campaign
""",
        """        if campaign.get("status") != "RUNNING" and PARITY.row("track_null_includes_paused"):
            ret_value[campaign.get("key")] = False
            continue
        # check if user storage attached if MAB activated for campaign
""",
    ),
    # Row 18.
    (
        TRACK,
        """goal.get("id"), goal.get("revenueProp")))
""",
        """goal.get("id"), PARITY.revenue_prop(goal)))
""",
    ),
    # Row 5.
    (
        DECIDER,
        """        new_user_storage_data = self._create_user_storage_data(
""",
        """        if variation is None and PARITY.row("no_variation_raises"):
            return None
        new_user_storage_data = self._create_user_storage_data(
""",
    ),
    # Section 7: a campaign of a group that is not there has no variation, and harms no other.
    (
        DECIDER,
        """            group_id = self.settings_file.get("campaignGroups").get(str(campaign.get("id")))
""",
        """            group_id = self.settings_file.get("campaignGroups").get(str(campaign.get("id")))
            if PARITY.lacks_group(group_id, self.settings_file):
                return None, False
""",
    ),
    # Row 7.
    (
        DECIDER,
        "variation_targeting_variables.update(_vwo_user_id=user_id)",
        """variation_targeting_variables.update(
            _vwo_user_id=PARITY.listed_id(user_id, campaign, self.settings_file)
        )""",
    ),
    # Row 10.
    (
        BUCKETER,
        """campaign.get("isOB") is None:""",
        """PARITY.is_absent(campaign.get("isOB")):""",
    ),
    (
        BUCKETER,
        """campaign.get("isOBv2") is None:""",
        """PARITY.is_absent(campaign.get("isOBv2")):""",
    ),
    # Row 12.
    ("api/activate.py", "if is_user_tracked is False:", "if PARITY.sends(is_user_tracked):"),
    (FEATURE, "if is_user_tracked is False:", "if PARITY.sends(is_user_tracked):"),
    (
        DECIDER,
        """if is_goal_tracked and (not""",
        """if is_goal_tracked and not PARITY.repeats() and (not""",
    ),
    # Rows 15 and 32.
    (
        VARIABLE,
        """if variation.get("isFeatureEnabled") is False:""",
        """if PARITY.is_off(variation.get("isFeatureEnabled")):""",
    ),
    (
        VARIABLE,
        """return feature_util.get_type_casted_feature_value(variable.get("value"), variable.get("type"))""",
        """return PARITY.cast(
        feature_util.get_type_casted_feature_value(variable.get("value"), variable.get("type")), variable
    )""",
    ),
    # Row 16.
    (
        FEATURE,
        """result = variation.get("isFeatureEnabled")""",
        """result = variation.get("isFeatureEnabled")
        if result is None and PARITY.row("feature_flag_raw"):
            result = False""",
    ),
    # Rows 17, 38 and 39.
    (
        DECIDER,
        """        user_storage_data = self._get_user_storage_data(user_id, campaign.get("key"))
""",
        """        user_storage_data = PARITY.usable(
            self._get_user_storage_data(user_id, campaign.get("key")), campaign
        )
""",
    ),
    (
        DECIDER,
        """user_storage_data = self.user_storage.get(user_id, campaign_key)""",
        """user_storage_data = PARITY.read(self.user_storage, user_id, campaign_key)""",
    ),
    # Row 37, and section 6.3: who is decided afresh starts afresh, also with his goals.
    (
        DECIDER,
        """            if goal_data:
                is_goal_tracked = """,
        """            if not PARITY.names_variation(user_storage_data, campaign):
                if is_user_tracked and PARITY.row("stale_storage_is_tracked"):
                    is_user_tracked = False
                if user_storage_data.get("goalIdentifiers") and PARITY.row("stale_goals_count"):
                    user_storage_data = {}
            if goal_data:
                is_goal_tracked = """,
    ),
    # Rows 35 and 48, and what is written.
    (
        DECIDER,
        """            self.user_storage.set(user_storage_data)
""",
        """            self.user_storage.set(PARITY.written(user_storage_data))
""",
    ),
    # Row 45.
    (
        DECIDER,
        """                if user_storage_data:
                    self.logger.log(""",
        """                if user_storage_data and not PARITY.names_variation(user_storage_data, campaign):
                    if PARITY.row("meg_other_storage"):
                        continue
                if user_storage_data:
                    self.logger.log(""",
    ),
    # Row 23.
    (
        CAMPAIGN,
        """if campaign.get("id") == campaign_id and campaign.get("status") == constants.STATUS_RUNNING:
                    group""",
        """if campaign.get("id") == campaign_id and (
                    campaign.get("status") == constants.STATUS_RUNNING or PARITY.row("meg_running_only")
                ):
                    group""",
    ),
    # Row 31.
    (
        DECIDER,
        "elif group_algo == MEG_ALGO_ADVANCED:",
        """elif group_algo == MEG_ALGO_ADVANCED or PARITY.row("meg_unknown_et"):""",
    ),
    # Rows 26 and 46.
    (
        DECIDER,
        """            self.logger.log(
                LogLevelEnum.INFO,
                LogMessageEnum.INFO_MESSAGES.GOT_WINNER_CAMPAIGN""",
        """            if winner_campaign is None and PARITY.row(PARITY.no_winner(group_algo)):
                return None, is_user_tracked
            self.logger.log(
                LogLevelEnum.INFO,
                LogMessageEnum.INFO_MESSAGES.GOT_WINNER_CAMPAIGN""",
    ),
    (
        DECIDER,
        """            winner_campaign = self.bucketer.get_allocated_item(eligible_traffic_weightage_campaigns, bucket_value)
""",
        """            winner_campaign = self.bucketer.get_allocated_item(eligible_traffic_weightage_campaigns, bucket_value)
            if winner_campaign is None and PARITY.row("meg_no_winner_raises_weighted"):
                return None
""",
    ),
    (
        DECIDER,
        """        campaign_util.scale_campaigns(eligible_campaigns)
""",
        """        if not eligible_campaigns and PARITY.row("meg_empty_group_raises"):
            return None
        campaign_util.scale_campaigns(eligible_campaigns)
""",
    ),
    # Row 44.
    (
        CAMPAIGN,
        """    normalized_weight = 100 / len(campaigns)
""",
        """    normalized_weight = 100 / len(campaigns)
    if 100 % len(campaigns) and PARITY.row("meg_equal_weight_floor"):
        normalized_weight = 100 // len(campaigns)
""",
    ),
    # Rows 8, 11, 19, 22, 40 and 47.
    (
        "services/segmentor/operand_evaluator.py",
        "def evaluate_custom_variable(self, operand, custom_variables):",
        """def evaluate_custom_variable(self, operand, custom_variables):
        return PARITY.leaf(self, operand, custom_variables)

    def stock_custom_variable(self, operand, custom_variables):""",
    ),
    # Section 14: in the map form a value that is no text is sent as its JSON text.
    (
        "api/push.py",
        """    if not custom_dimension_map:
        custom_dimension_map = dict([(tag_key, tag_value)])
""",
        """    if not custom_dimension_map:
        custom_dimension_map = dict([(tag_key, tag_value)])
    custom_dimension_map = PARITY.tag_texts(custom_dimension_map)
""",
    ),
]
